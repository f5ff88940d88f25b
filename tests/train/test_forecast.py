from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.train.forecast import Forecast
from tamperscope.train.recipe import Training


def test_a_long_training_says_once_when_it_ends():
    clock, said = iter([0.0, 5 * 1.2]), []
    forecast = Forecast(Training(steps=5006), said.append, lambda: next(clock))
    for done in range(40):
        forecast(done)
    (line,) = said
    assert line.startswith("about 100 minutes to go at most, until 2")


@pytest.mark.parametrize(("plan", "minutes"), [(Training(steps=1000), None), (Training(steps=9000, minutes=45.0), 45)])
def test_a_short_one_says_nothing_and_a_limit_counts(plan, minutes):
    clock, said = iter([0.0, 5 * 1.2]), []
    forecast = Forecast(plan, said.append, lambda: next(clock))
    for done in range(40):
        forecast(done)
    assert [line.split(" minutes")[0] for line in said] == ([] if minutes is None else [f"about {minutes}"])
