from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import InputError, TamperscopeError, UsageError
from tamperscope.evaluate import decisions, intervals, ranking, reliability

wild = st.lists(st.floats(width=32) | st.integers(-3, 3) | st.none(), max_size=6)
MEASURES = [
    ranking.auprc,
    ranking.roc,
    ranking.precision_recall,
    lambda a, b: ranking.detection_rate(a, b, 0.5),
    lambda a, b: decisions.at(a, b, 0.5),
    reliability.ece,
    reliability.brier,
    reliability.risk_coverage,
    reliability.risk_coverage_area,
    lambda a, b: intervals.delong([a], [b]),
    lambda a, b: intervals.delong_test([a, a], [b, b]),
]


@pytest.mark.parametrize("measure", MEASURES)
@settings(deadline=None)
@given(wild, wild)
def test_wild_values_are_measured_or_refused_with_a_way_out(measure, first, second):
    try:
        measure(first, second)
    except TamperscopeError as error:
        way_out = error.hint
    else:
        way_out = "none needed"
    assert way_out


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "values", [["a", "b"], [[0.1], [0.2, 0.3]], [np.nan, 0.5], [np.inf, 0.5], [1j, 0.5], [{}, 0.5]]
)
def test_what_is_no_list_of_finite_numbers_is_refused(measure, values):
    with pytest.raises(InputError):
        measure(values, [0.0, 1.0])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("values", [0.5, np.full((2, 1), 0.5)])
def test_other_shapes_are_refused(measure, values):
    with pytest.raises(UsageError, match="shape"):
        measure(values, [0.0, 1.0])


def test_the_message_counts_what_is_wrong():
    with pytest.raises(InputError, match="2 of 3 scores are not finite"):
        ranking.auprc([np.nan, np.inf, 0.0], [1.0])
