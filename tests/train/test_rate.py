from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.train.rate import LAST, WARM_UP, set_rate  # noqa: E402


def rate(number: int, steps: int = 1000) -> float:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    set_rate(optimiser, 0.02, number, steps)
    return optimiser.param_groups[0]["lr"]


def test_it_rises_then_falls_and_stays_low():
    assert rate(0) == pytest.approx(0.02 / WARM_UP)
    assert rate(WARM_UP) == pytest.approx(0.02)
    assert rate(WARM_UP) > rate(300) > rate(600) > rate(999)
    assert rate(1000) == rate(5000) == pytest.approx(0.02 * LAST)


def test_a_run_shorter_than_its_warm_up_has_a_rate_too():
    assert 0.0 < rate(3, steps=10) <= 0.02
    assert rate(60, steps=10) == pytest.approx(0.02 * LAST)
