from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.models.back_in_time_net import STEPS, back_in_time_net, noised, residual, schedule  # noqa: E402


def pictures(side: int = 16, seed: int = 0):
    return torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def net(seed: int = 0):
    torch.manual_seed(seed)
    return back_in_time_net(width=8)


class Knows(torch.nn.Module):
    """A denoiser that knows the noise, or is told some."""

    def __init__(self, noise):
        super().__init__()
        self.kept = schedule(STEPS)
        self.noise = noise

    def forward(self, noisy, t):  # noqa: ARG002
        return self.noise


def test_shape_and_every_parameter_learns():
    steps = torch.tensor([3, 700])
    assert net()(pictures(), steps).shape == (2, 1, 16, 16)
    assert unreached(net(), pictures(), steps) == []


def test_the_schedule_falls_from_picture_to_noise():
    kept = schedule(STEPS)
    assert kept.shape == (STEPS,)
    assert (kept.diff() < 0.0).all()
    assert 0.999 < kept[0] < 1.0
    assert 0.0 < kept[-1] < 1e-3
    assert float(kept[STEPS // 2 - 1]) == pytest.approx(0.5, abs=1e-4)


def test_noise_is_added_as_the_schedule_says():
    noise = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    noisy = noised(net(), pictures(), noise, torch.tensor([0, STEPS - 1]))
    assert (noisy[0] - pictures()[0]).abs().max() < 0.1
    assert (noisy[1] - noise[1]).abs().max() < 0.1


def test_a_step_back_from_the_first_step_takes_all_noise_out():
    noise = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    knows = Knows(noise)
    noisy = noised(knows, pictures(), noise, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(residual(knows, noisy), (noisy - pictures()).abs(), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("t", [0, 1, 400])
def test_a_picture_without_noise_only_grows_by_the_step(t):
    left = residual(Knows(torch.zeros(2, 1, 16, 16)), pictures(), t)
    kept = schedule(STEPS)
    share = kept[t] / (kept[t - 1] if t else 1.0)
    torch.testing.assert_close(left, pictures().abs() * (share**-0.5 - 1.0), atol=1e-6, rtol=1e-3)


def test_the_residual_leaves_the_pictures_alone_and_draws_nothing():
    given, made = pictures(), net().eval()
    with torch.inference_mode():
        one, other = residual(made, given, 5), residual(made, given, 5)
    assert one.shape == given.shape
    assert torch.equal(one, other)
    assert torch.equal(given, pictures())


def test_the_same_seed_gives_the_same_weights():
    assert same(net(1), net(1))
    assert not same(net(1), net(2))


def test_the_exported_network_answers_like_torch(tmp_path):
    pytest.importorskip("onnxscript")
    assert difference(net(), tmp_path, pictures(), torch.tensor([3, 700])) < 1e-4
