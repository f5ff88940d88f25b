from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models.ct_gan import SIDE, Discriminator, Enlarge, Generator  # noqa: E402


def parameters(*nets):
    return sum(value.numel() for net in nets for value in net.parameters())


def cubes(n: int, channels: int = 1, side: int = SIDE):
    return torch.randn(n, channels, side, side, side, generator=torch.Generator().manual_seed(1))


def test_the_published_width_has_the_published_number_of_parameters():
    with torch.device("meta"):
        both = parameters(Generator(), Discriminator())
    assert round(both / 1e6, 1) == 189.5


def test_the_published_filters():
    with torch.device("meta"):
        net = Generator()
    assert [down.conv.out_channels for down in net.downs] == [100, 200, 400, 800, 800]
    assert [up.enlarge.conv.out_channels for up in net.ups] == [800, 400, 200, 100]
    assert [isinstance(down.norm, torch.nn.Identity) for down in net.downs] == [True, False, False, False, False]


def test_a_limit_on_the_deepest_layers_leaves_the_first_alone():
    limited = Generator(width=4, deepest=10)
    assert [down.conv.out_channels for down in limited.downs] == [4, 8, 10, 10, 10]
    assert parameters(limited) < 0.25 * parameters(Generator(width=4))


def test_shapes_and_range():
    generator, discriminator = Generator(width=2).eval(), Discriminator(width=2).eval()
    masked = cubes(2)
    with torch.inference_mode():
        cube = generator(masked)
        judged = discriminator(cube, masked)
    assert cube.shape == masked.shape
    assert cube.abs().max() <= 1.0
    assert judged.shape == (2, 1, 2, 2, 2)


def test_enlarging_sums_alike_in_training_and_in_evaluation():
    torch.manual_seed(2)
    layer = Enlarge(3, 5)
    torch.nn.init.normal_(layer.conv.bias)
    x = cubes(2, 3, 4)
    with torch.inference_mode():
        torch.testing.assert_close(layer.train()(x), layer.eval()(x))


def test_even_kernels_are_padded_by_one_before_and_two_after():
    layer = Enlarge(1, 1).eval()
    torch.nn.init.zeros_(layer.conv.weight)
    layer.conv.weight.data[0, 0, 1, 1, 1] = 1.0  # the tap that lies on the voxel itself, one after the padding
    x = cubes(1, 1, 3)
    with torch.inference_mode():
        assert torch.equal(layer(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4))


def test_chance_plays_no_part_in_evaluation():
    torch.manual_seed(3)
    net = Generator(width=2)
    masked = cubes(2)
    with torch.inference_mode():
        assert not torch.equal(net.train()(masked), net(masked))
        assert torch.equal(net.eval()(masked), net(masked))
