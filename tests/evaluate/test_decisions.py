from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import UsageError
from tamperscope.evaluate.decisions import Confusion, at, threshold_for

scores = st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6), min_size=1, max_size=30)
counts = st.integers(0, 40)
RATES = ["accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "false_alarm_rate"]


@pytest.fixture(scope="module")
def metrics():
    return pytest.importorskip("sklearn.metrics")


def test_the_rates_of_a_matrix_counted_by_hand():
    matrix = Confusion(true_positives=6, false_positives=2, false_negatives=4, true_negatives=28)
    assert matrix.accuracy == pytest.approx(34 / 40)
    assert matrix.precision == pytest.approx(6 / 8)
    assert matrix.recall == pytest.approx(6 / 10)
    assert matrix.specificity == pytest.approx(28 / 30)
    assert matrix.false_alarm_rate == pytest.approx(2 / 30)
    assert matrix.f1 == pytest.approx(12 / 18)
    assert matrix.balanced_accuracy == pytest.approx((0.6 + 28 / 30) / 2)


@pytest.mark.parametrize(
    ("matrix", "undefined"),
    [
        (Confusion(0, 0, 0, 0), set(RATES)),
        (Confusion(0, 0, 0, 5), {"precision", "recall", "f1", "balanced_accuracy"}),
        (Confusion(0, 0, 5, 0), {"precision", "specificity", "false_alarm_rate", "balanced_accuracy"}),
        (Confusion(0, 0, 5, 5), {"precision"}),
        (Confusion(0, 5, 0, 0), {"recall", "balanced_accuracy"}),
    ],
)
def test_a_rate_without_cases_is_not_a_number(matrix, undefined):
    assert {rate for rate in RATES if np.isnan(getattr(matrix, rate))} == undefined


@settings(deadline=None)
@given(counts, counts, counts, counts)
def test_the_rates_are_those_of_scikit_learn(metrics, tp, fp, fn, tn):
    matrix = Confusion(tp, fp, fn, tn)
    truth, said = [1] * tp + [0] * fp + [1] * fn + [0] * tn, [1] * (tp + fp) + [0] * (fn + tn)
    if tp + fn and fp + tn:
        assert matrix.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    if truth:
        assert matrix.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
        for rate in ("precision", "recall", "f1"):
            theirs = getattr(metrics, f"{rate}_score")(truth, said, zero_division=np.nan)
            assert getattr(matrix, rate) == pytest.approx(theirs, nan_ok=True), rate


def test_a_score_at_the_threshold_is_flagged():
    assert at([0.5, 0.9, 0.4], [0.5, 0.1], 0.5) == Confusion(2, 1, 1, 1)
    assert at([], [], 0.5) == Confusion(0, 0, 0, 0)


def test_negative_counts_and_unset_thresholds_are_refused():
    with pytest.raises(UsageError, match="false negatives -1"):
        Confusion(1, 1, -1, 1)
    with pytest.raises(UsageError, match="threshold is NaN"):
        at([1.0], [0.0], threshold_for([0.0], 0.01))


@pytest.mark.parametrize(
    ("false_alarms", "allowed"), [(0.0, 0), (0.01, 1), (0.019, 1), (0.1, 10), (0.29, 29), (0.5, 50), (0.999, 99)]
)
def test_the_threshold_allows_the_false_alarms_that_were_asked_for(false_alarms, allowed):
    authentic = np.random.default_rng(0).permutation(100).astype(float)
    threshold = threshold_for(authentic, false_alarms)
    assert at([], authentic, threshold).false_positives == allowed
    assert at([], authentic, float(np.nextafter(threshold, -np.inf))).false_positives == allowed + 1


@settings(deadline=None)
@given(scores, st.floats(0.0, 0.99))
def test_the_rate_on_the_same_scores_is_never_higher_than_asked_for(negatives, false_alarms):
    threshold = threshold_for(negatives, false_alarms)
    if not np.isnan(threshold):
        assert at([], negatives, threshold).false_alarm_rate <= false_alarms + 1e-9


def test_ties_lower_the_rate_and_never_raise_it():
    assert at([], [0.0, 1.0, 1.0, 1.0], threshold_for([0.0, 1.0, 1.0, 1.0], 0.5)).false_positives == 0


def test_too_few_scores_are_not_measurable():
    assert np.isnan(threshold_for(np.arange(99.0), 0.01))
    assert threshold_for(np.arange(100.0), 0.01) == pytest.approx(98.0)
    assert np.isnan(threshold_for([], 0.0))
    assert threshold_for([2.0], 0.0) > 2.0


@pytest.mark.parametrize("share", [-0.01, 1.0, 5.0, np.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(UsageError, match="false-alarm rate"):
        threshold_for([0.0, 1.0], share)
