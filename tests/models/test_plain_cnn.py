from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.models.plain_cnn import plain_cnn  # noqa: E402


def pictures(channels: int = 1, side: int = 64):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_shape_and_every_parameter_learns():
    torch.manual_seed(0)
    net = plain_cnn(2, 3, side=64, width=4, dropout=0.0)
    assert net(pictures(2)).shape == (2, 3)
    assert unreached(net, pictures(2)) == []


def test_width_scales_the_network_and_224_pixels_are_its_own():
    with torch.device("meta"):
        narrow, wide = plain_cnn(width=4), plain_cnn(width=8)
        assert narrow(torch.zeros(1, 1, 224, 224)).shape == (1, 1)
    small, large = (sum(weight.numel() for weight in net.blocks.parameters()) for net in (narrow, wide))
    assert 3.5 < large / small < 4.5


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(plain_cnn(side=32, width=4))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_exported_network_answers_like_torch(tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    assert difference(plain_cnn(side=64, width=4), tmp_path, pictures()) < 1e-4
