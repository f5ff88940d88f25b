from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import unreached  # noqa: E402
from tamperscope.models.attention import Cbam, ChannelAttention, SpatialAttention  # noqa: E402


def features(seed: int = 0):
    return torch.randn(2, 32, 8, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "net", [ChannelAttention(32), SpatialAttention(), Cbam(32)], ids=lambda net: type(net).__name__
)
def test_shape_is_kept_and_every_parameter_learns(net):
    assert net(features()).shape == features().shape
    assert unreached(net, features()) == []


def test_channels_are_scaled_alike_everywhere_and_places_alike_in_all_channels():
    x = features() + 5.0
    with torch.inference_mode():
        by_channel, by_place = ChannelAttention(32)(x) / x, SpatialAttention()(x) / x
    torch.testing.assert_close(by_channel, by_channel[:, :, :1, :1].expand_as(x))
    torch.testing.assert_close(by_place, by_place[:, :1].expand_as(x))
    for scale in (by_channel, by_place):
        assert 0.0 < scale.min() < scale.max() < 1.0


def test_the_channel_gate_by_hand():
    net = ChannelAttention(4)
    for weight in net.parameters():
        torch.nn.init.constant_(weight, 0.25)
    x = torch.zeros(1, 4, 2, 2)
    x[0, :, 0, 0] = 1.0  # mean 1/4, maximum 1: through the two layers they stay what they are
    with torch.inference_mode():
        assert float(net(x)[0, 0, 0, 0]) == pytest.approx(float(torch.sigmoid(torch.tensor(1.25))))


def test_a_part_that_is_off_changes_nothing_and_has_no_parameters():
    off = Cbam(32, channel=False, spatial=False)
    assert torch.equal(off(features()), features())
    assert list(off.parameters()) == []
    assert {name.split(".")[0] for name, _ in Cbam(32, spatial=False).named_parameters()} == {"channel"}
    assert {name.split(".")[0] for name, _ in Cbam(32, channel=False).named_parameters()} == {"spatial"}
