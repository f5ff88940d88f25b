from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models.cycle_gan import discriminator, generator  # noqa: E402


def cubes(n: int = 2):
    chance = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, 16, 8, generator=chance), torch.rand(n, 4, 16, 8, generator=chance)


def test_a_new_generator_changes_nothing():
    torch.manual_seed(0)
    net = generator(slices=4, width=8, depth=1).eval()
    cube, mask = cubes()
    with torch.inference_mode():
        assert torch.equal(net(cube, mask), cube)


def test_the_mask_counts_for_both():
    torch.manual_seed(0)
    cube, mask = cubes()
    for net in (generator(slices=4, width=8, depth=1), discriminator(slices=4, width=8)):
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        with torch.inference_mode():
            assert not torch.allclose(net(cube, mask), net(cube, 1.0 - mask), atol=1e-4)


def test_a_discriminator_judges_patches():
    with torch.inference_mode():
        assert discriminator(slices=4, width=8)(*cubes()).shape == (2, 1, 4, 2)


def test_the_published_generator_fits_the_size_budget():
    assert 2 * sum(weight.numel() for weight in generator().parameters()) < 1_250_000
