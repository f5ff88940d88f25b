from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.models.patch_net import cut, patch_net  # noqa: E402

SMALL = {"side": 32, "patch": 16, "width": 16, "depth": 1, "heads": 2}


def pictures(channels: int = 1, side: int = 32):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def test_patches_are_the_picture_row_by_row():
    x = pictures(2, 8)
    patches = cut(x, 4)
    assert patches.shape == (2, 4, 2, 4, 4)
    for number, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        assert torch.equal(patches[:, number], x[:, :, row : row + 4, column : column + 4])


def test_shape_and_every_parameter_learns():
    torch.manual_seed(0)
    net = patch_net(2, 3, dropout=0.0, **SMALL)
    assert net(pictures(2)).shape == (2, 3)
    assert unreached(net, pictures(2)) == []


def test_without_attention_and_places_the_order_of_patches_is_of_no_matter():
    torch.manual_seed(0)
    net = patch_net(**{**SMALL, "depth": 0}).eval()
    torch.nn.init.zeros_(net.places)
    x = pictures()
    with torch.inference_mode():
        torch.testing.assert_close(net(x), net(x.roll(16, dims=3)))
        torch.nn.init.normal_(net.places)
        assert not torch.allclose(net(x), net(torch.cat([x[:1], x[:1].roll(8, dims=3)])))


def test_a_patch_is_embedded_alone():
    torch.manual_seed(0)
    net = patch_net(**SMALL).eval()
    patches = cut(pictures(), 16)[0]
    with torch.inference_mode():
        together, alone = net.embedding(patches), torch.cat([net.embedding(patch[None]) for patch in patches])
    torch.testing.assert_close(together, alone)


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(patch_net(**SMALL))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_exported_network_answers_like_torch(tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    assert difference(patch_net(**SMALL), tmp_path, pictures()) < 1e-4
