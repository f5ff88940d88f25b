from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import difference, same, unreached  # noqa: E402
from tamperscope.models.mil_net import GatedAttention, mil_net  # noqa: E402

SMALL = {"width": 8, "features": 16, "hidden": 8, "dropout": 0.0}


def bag(count: int = 2, number: int = 6, seed: int = 0):
    return torch.randn(count, number, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def there(count: int = 2, number: int = 6):
    return torch.ones(count, number, dtype=torch.bool)


def net(**options):
    torch.manual_seed(0)
    return mil_net(**{**SMALL, **options})


def test_weights_by_hand():
    pool = GatedAttention(1, 1)
    for weight in pool.parameters():
        torch.nn.init.ones_(weight)
    with torch.inference_mode():
        pooled, weights = pool(torch.tensor([[[0.0], [1.0], [9.0]]]), torch.tensor([[True, True, False]]))
    gated = torch.tensor([0.0, float(torch.tanh(torch.tensor(1.0)) * torch.sigmoid(torch.tensor(1.0)))])
    torch.testing.assert_close(weights[0, :2], torch.softmax(gated, 0))
    assert weights[0, 2] == 0.0
    torch.testing.assert_close(pooled[0, 0], weights[0, 1])


@pytest.mark.parametrize("options", [{}, {"slices": 3}, {"slices": 3, "position": True}], ids=str)
def test_shapes_and_weights_and_every_parameter_learns(options):
    made = net(outputs=2, **options)
    z = torch.tensor([[4, 5, 6], [0, 1, 2]])
    logits, weights = made(bag(), there(), z)
    assert logits.shape == (2, 2)
    assert weights.shape == (2, 6)
    assert (weights > 0.0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert unreached(made, bag(), there(), z) == []


@pytest.mark.parametrize("slices", [1, 3])
def test_a_patch_that_does_not_exist_is_of_no_matter(slices):
    made, exists = net(slices=slices).eval(), there()
    exists[0, 2:4] = False  # the whole second of three slices
    exists[1, 5] = False
    other = bag()
    other[~exists] = 100.0
    with torch.inference_mode():
        one, weights = made(bag(), exists)
        torch.testing.assert_close(made(other, exists)[0], one)
        nothing, none = made(bag(), torch.zeros_like(exists))
    assert (weights[~exists] == 0.0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert torch.isfinite(nothing).all()
    assert (none == 0.0).all()


def test_the_order_of_a_bag_is_of_no_matter():
    made, order = net().eval(), [3, 1, 5, 0, 2, 4]
    with torch.inference_mode():
        logits, weights = made(bag(), there())
        again, shuffled = made(bag()[:, order], there())
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(shuffled, weights[:, order])


def test_z_counts_only_where_it_is_asked_for():
    low, high = torch.tensor([[0, 1, 2]] * 2), torch.tensor([[50, 51, 52]] * 2)
    with torch.inference_mode():
        free, placed = net(slices=3).eval(), net(slices=3, position=True).eval()
        assert torch.equal(free(bag(), there(), low)[0], free(bag(), there(), high)[0])
        assert not torch.allclose(placed(bag(), there(), low)[0], placed(bag(), there(), high)[0])


def test_the_same_seed_gives_the_same_weights():
    torch.manual_seed(2)
    assert same(net(), net())
    torch.manual_seed(2)
    assert not same(net(), mil_net(**SMALL))


def test_the_exported_network_answers_like_torch(tmp_path):
    pytest.importorskip("onnxscript")
    exists = there()
    exists[1, 4:] = False
    assert difference(net(slices=3), tmp_path, bag(), exists) < 1e-4
