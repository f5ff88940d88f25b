from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models.diffusion import diffusion_net  # noqa: E402


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = diffusion_net(slices=4, widths=(8, 16, 16)).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return net


def inputs(seed: int, n: int = 2):
    chance = torch.Generator().manual_seed(seed)
    cubes = [torch.randn(n, 4, 16, 8, generator=chance) for _ in range(3)]
    return [*cubes, torch.rand(n, generator=chance), torch.tensor([0.0, 1.2])[:n]]


def test_the_velocity_has_the_shape_of_the_cube(net):
    with torch.inference_mode():
        velocity = net(*inputs(0))
    assert velocity.shape == (2, 4, 16, 8)
    assert torch.isfinite(velocity).all()


def test_a_batch_is_its_cubes_one_by_one(net):
    batch = inputs(1)
    with torch.inference_mode():
        together, alone = net(*batch), torch.cat([net(*[one[n : n + 1] for one in batch]) for n in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("which", range(5))
def test_every_input_counts(net, which):
    before, after = inputs(2), inputs(2)
    after[which] = after[which] + 0.3
    with torch.inference_mode():
        assert not torch.allclose(net(*before), net(*after), atol=1e-4)


def test_the_published_network_fits_the_size_budget():
    assert 2 * sum(weight.numel() for weight in diffusion_net().parameters()) < 1_250_000
