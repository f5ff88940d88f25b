from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.models.forensic_net import STRIDE, ConstrainedConv, FixedHighPass, forensic_net  # noqa: E402


def pictures(channels: int = 1, height: int = 64, width: int = 48):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_shapes_and_every_parameter_learns():
    torch.manual_seed(0)
    net = forensic_net(2, width=4)
    where, verdict = net(pictures(2))
    assert where.shape == (2, 1, 64 // STRIDE, 48 // STRIDE)
    assert verdict.shape == (2, 1)
    assert unreached(net, pictures(2)) == []


def test_fixed_filters_see_no_slope_and_are_not_trained():
    net = FixedHighPass(2)
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    slope = (3.0 * rows + 2.0 * columns + 7.0).expand(1, 2, 12, 12)
    residual = net(slope)
    assert residual.shape == (1, 6, 12, 12)
    assert residual[..., 2:-2, 2:-2].abs().max() < 1e-4
    assert list(net.parameters()) == []
    dot = torch.zeros(1, 2, 12, 12)
    dot[:, 1, 6, 6] = 1.0
    centres = net(dot)[0, :, 6, 6]
    torch.testing.assert_close(centres, torch.tensor([0.0, 0.0, 0.0, -1.0, -1.0, -1.0]))


def test_the_constraint_holds_at_the_start_and_after_every_step():
    torch.manual_seed(0)
    net = ConstrainedConv(2, 3)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(4):
        kernels = net.kernels().detach()
        torch.testing.assert_close(kernels[:, :, 2, 2], -torch.ones(3, 2))
        torch.testing.assert_close(kernels.sum((2, 3)), torch.zeros(3, 2), atol=1e-5, rtol=0.0)
        optimiser.zero_grad()
        net(pictures(2)).square().sum().mul(1e-3).backward()
        optimiser.step()
    assert not torch.allclose(net.kernels(), kernels)


def test_a_constant_leaves_no_constrained_residual():
    assert ConstrainedConv(1, 3)(torch.full((1, 1, 8, 8), 40.0)).abs().max() < 1e-3


def test_training_begins_with_authentic_nearly_everywhere():
    torch.manual_seed(0)
    with torch.inference_mode():
        where, _ = forensic_net(width=4).eval()(pictures())
    assert torch.sigmoid(where).mean() < 0.2


def test_a_batch_is_its_pictures_one_by_one():
    torch.manual_seed(0)
    net = forensic_net(width=4).eval()
    with torch.inference_mode():
        together, alone = net(pictures()), [net(one[None]) for one in pictures()]
    for number, answer in enumerate(together):
        torch.testing.assert_close(answer, torch.cat([one[number] for one in alone]), atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(forensic_net(width=4))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_exported_network_answers_like_torch(tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    assert difference(forensic_net(width=4), tmp_path, pictures()) < 1e-4
