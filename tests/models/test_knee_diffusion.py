from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models.knee_diffusion import COARSE, Gaussian, decoder, denoiser  # noqa: E402


def normal(count: int, seed: int):
    """Pictures (count, 1, 56, 56) of three strong components, white noise of 0.1, and a mean of 0.2 a grade."""
    chance = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.interpolate(
        torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(9)), size=(COARSE, COARSE), mode="bilinear"
    )
    grades = torch.arange(count) % 2
    coarse = (torch.randn(count, 3, generator=chance) @ rows.flatten(1)).view(-1, 1, COARSE, COARSE)
    white = 0.1 * torch.randn(count, 1, COARSE, COARSE, generator=chance)
    return coarse + white + 0.2 * grades[:, None, None, None], grades


@pytest.fixture(scope="module")
def gaussian():
    net = Gaussian(2, 4)
    net.fit(*normal(400, 0))
    return net


@pytest.mark.parametrize("ratio", [0.01, 0.3, 4.0])
def test_the_linear_denoiser_misses_what_it_says(gaussian, ratio):
    clean, grades = normal(200, 1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    guess, error = gaussian(clean + ratio**0.5 * noise, torch.full((200, 1), ratio), grades)
    assert float((guess - clean).square().mean().sqrt()) == pytest.approx(float(error[0]), rel=0.06)


def test_without_noise_it_keeps_the_picture_and_in_noise_it_gives_the_mean(gaussian):
    clean, grades = normal(40, 3)
    kept, error = gaussian(clean, torch.full((40, 1), 1e-9), grades)
    torch.testing.assert_close(kept, clean, atol=1e-3, rtol=0.0)
    assert error.max() < 1e-3
    lost, _ = gaussian(clean, torch.full((40, 1), 1e9), torch.ones(40, dtype=torch.long))
    assert (lost - lost[:1]).abs().max() < 1e-3
    assert float(lost[0].mean() - gaussian.middle.mean()) == pytest.approx(0.1, abs=0.08)


def test_a_new_denoiser_is_the_linear_one():
    torch.manual_seed(0)
    net = denoiser(2, 8).eval()
    clean, grades = normal(40, 4)
    net.gaussian.fit(clean, grades)
    with torch.inference_mode():
        guess, _ = net.known(clean, torch.full((40,), 0.5), grades)
        torch.testing.assert_close(net(clean, torch.full((40,), 0.5), grades), guess)


@pytest.mark.parametrize("time", [0.0, 0.5, 1.0])
def test_every_time_is_finite(time):
    torch.manual_seed(0)
    net = denoiser(2, 8).eval()
    clean, grades = normal(4, 5)
    net.gaussian.fit(clean, grades)
    torch.nn.init.normal_(net.last.weight, std=0.1)
    with torch.inference_mode():
        assert torch.isfinite(net(clean, torch.full((4,), time), grades)).all()


def test_the_decoder_keeps_the_coarse_picture_and_adds_grain():
    torch.manual_seed(0)
    net = decoder(4).eval()
    coarse, _ = normal(2, 6)
    grain = torch.randn(2, 1, 224, 224, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        one, other = net(coarse, grain), net(coarse, -grain)
    assert one.shape == (2, 1, 224, 224)
    assert (one - other).abs().mean() > 1e-3
    again = torch.nn.functional.avg_pool2d(one, 4)
    assert (again - coarse).abs().mean() < 0.5 * (coarse - coarse.mean()).abs().mean()
