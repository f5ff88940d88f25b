from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from torch.nn import functional  # noqa: E402

from tamperscope.models.knee_gan import Eigenpictures, generator  # noqa: E402


def smooth(count: int, seed: int = 0):
    """Pictures (count, 1, 224, 224) that six numbers describe."""
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 2, 3, generator=chance)
    return 0.3 * functional.interpolate(coarse, size=(224, 224), mode="bilinear")


@pytest.fixture(scope="module")
def fitted():
    torch.manual_seed(0)
    net, latents = generator(latent=8, width=4).eval(), Eigenpictures(8)
    pictures, grades = smooth(40), torch.arange(40) % 5
    latents.fit(pictures, grades, net)
    return net, latents, pictures, grades


def test_latents_are_of_unit_variance_and_each_grade_has_its_mean(fitted):
    net, latents, pictures, grades = fitted
    found = latents(pictures)[:, :6]
    assert found.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(6), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(net.means.weight[3, :6], found[grades == 3].mean(0), atol=1e-4, rtol=0.0)


def test_training_starts_from_pictures_like_their_originals(fitted):
    net, latents, pictures, grades = fitted
    with torch.inference_mode():
        painted = net.paint(latents(pictures[:4]), torch.zeros(4, 1, 224, 224), grades[:4])
    coarse = functional.avg_pool2d(painted, 4)
    error = (coarse - functional.avg_pool2d(pictures[:4], 4)).abs().mean()
    assert error < 0.3 * pictures.abs().mean()


def test_grain_and_grade_and_noise_each_change_the_picture(fitted):
    net = fitted[0]
    chance = torch.Generator().manual_seed(1)
    noise, grain = torch.randn(1, 8, generator=chance), torch.randn(1, 1, 224, 224, generator=chance)
    with torch.inference_mode():
        first = net(noise, grain, torch.tensor([0]))
        others = [net(noise, grain, torch.tensor([4])), net(-noise, grain, torch.tensor([0]))]
        others.append(net(noise, -grain, torch.tensor([0])))
    assert first.shape == (1, 1, 224, 224)
    assert all((other - first).abs().mean() > 1e-3 for other in others)
