from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.evaluate.systems import cascade  # noqa: E402
from tamperscope.models.window_net import SIDE, window_net  # noqa: E402

WINDOWS = torch.rand(6, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
PARTS = [(True, True), (True, False), (False, True), (False, False)]


def test_windows_are_those_that_the_look_cuts():
    assert SIDE == cascade.SIDE


@pytest.mark.parametrize(("channel", "spatial"), PARTS)
def test_each_window_has_a_logit_and_every_parameter_learns(channel, spatial):
    torch.manual_seed(0)
    net = window_net(4, dropout=0.0, channel_attention=channel, spatial_attention=spatial)
    assert net(WINDOWS).shape == (6, 1)
    assert unreached(net, WINDOWS) == []


def test_attention_can_be_switched_off():
    counts = [
        sum(one.numel() for one in window_net(4, channel_attention=c, spatial_attention=s).parameters())
        for c, s in PARTS
    ]
    assert counts[0] > max(counts[1:])
    assert counts[3] < min(counts[:3])


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(window_net(4))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_it_is_exported(tmp_path):
    torch.manual_seed(0)
    assert difference(window_net(8), tmp_path, WINDOWS) < 1e-4
