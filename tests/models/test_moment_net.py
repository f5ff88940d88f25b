from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models import moment_net  # noqa: E402
from tamperscope.models.moment_net import STRIDE, Moments, cosines  # noqa: E402


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 80), (16, 16)])
def test_a_logit_for_each_four_by_four_pixels(rows, columns):
    seen = torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert moment_net(8).eval()(seen).shape == (2, 1, rows // STRIDE, columns // STRIDE)


def test_the_first_filters_are_orthonormal_and_see_no_mean():
    filters = cosines().flatten(1)
    assert torch.allclose(filters @ filters.T, torch.eye(24), atol=1e-6)
    assert torch.allclose(filters.sum(1), torch.zeros(24), atol=1e-5)


def test_energies_follow_the_strength_of_the_noise_and_not_its_level():
    moments = Moments().eval()
    noise = 0.5 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one, raised, louder = (moments(x)[..., 4:-4, 4:-4] for x in (noise, noise + 3.0, 2.0 * noise))
    assert torch.allclose(one, raised, atol=1e-3)
    energies = slice(0, 24)
    assert torch.allclose(louder[:, energies] - one[:, energies], torch.tensor(4.0).log(), atol=0.4)


def test_every_number_learns_and_every_part_can_be_switched_off():
    net = moment_net(8, channel_attention=True, spatial_attention=True)
    net(torch.randn(2, 3, 32, 32)).mean().backward()
    assert [name for name, value in net.named_parameters() if value.grad is None] == []
    plain = moment_net(8, channel_attention=False, spatial_attention=False)
    assert not [name for name, _ in plain.named_parameters() if name.startswith("attend")]


def test_training_starts_from_authentic():
    with torch.inference_mode():
        logits = moment_net(8).eval()(torch.randn(1, 3, 64, 64))
    assert float(logits.mean()) < -1.0
