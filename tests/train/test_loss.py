from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.train.loss import strongest, trace_loss  # noqa: E402

WEIGHTS = {"positive": 3.0, "picture": 0.3, "pointing": 0.2}


@pytest.fixture
def target():
    """A forged crop with a forged square in a ring that is not judged, then its pristine twin."""
    made = torch.zeros(2, 1, 16, 16)
    made[0, 0, 3:11, 3:11] = -1.0
    made[0, 0, 4:10, 4:10] = 1.0
    return made


def test_the_strongest_are_those_asked_for(target):
    logits = torch.where(target == 1.0, 5.0, torch.where(target == -1.0, 9.0, -2.0))
    assert strongest(logits).tolist() == [9.0, -2.0]
    assert strongest(logits, target == 1.0).tolist() == [5.0, -30.0]
    few = torch.zeros_like(target, dtype=torch.bool)
    few[0, 0, 5, 5:8] = True
    assert strongest(logits, few).tolist() == [5.0, -30.0]


def test_a_false_peak_beside_the_forgery_costs_more_than_one_beside_nothing(target):
    right = torch.where(target == 1.0, 4.0, -4.0)
    beside, twin = right.clone(), right.clone()
    beside[0, 0, 13:16, 11:16] = 6.0
    twin[1, 0, 13:16, 11:16] = 6.0
    costs = [float(trace_loss(logits, target, **WEIGHTS)) for logits in (right, twin, beside)]
    assert costs[0] < costs[1] < costs[2]


def test_what_is_not_judged_costs_nothing(target):
    quiet = torch.where(target == 1.0, 4.0, -4.0)
    loud = torch.where(target == -1.0, 9.0, quiet)
    assert trace_loss(quiet, target, **WEIGHTS) == trace_loss(loud, target, **WEIGHTS)


def test_a_batch_without_a_forged_place_has_a_finite_loss_with_a_slope():
    logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
    loss = trace_loss(logits, torch.zeros(2, 1, 8, 8), **WEIGHTS)
    loss.backward()
    assert torch.isfinite(loss)
    assert (logits.grad > 0).any()
    assert torch.isfinite(logits.grad).all()
