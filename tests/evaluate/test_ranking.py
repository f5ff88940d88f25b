from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import UsageError
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.ranking import auprc, detection_rate, precision_recall, roc, tally

scores = st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def metrics():
    return pytest.importorskip("sklearn.metrics")


def labelled(positives: list[float], negatives: list[float]) -> tuple[list[int], list[float]]:
    return [1] * len(positives) + [0] * len(negatives), [*positives, *negatives]


def test_the_curves_of_scores_ranked_by_hand():
    positives, negatives = [0.9, 0.6, 0.6], [0.6, 0.2]
    assert [list(one) for one in tally(positives, negatives)] == [[0.9, 0.6, 0.2], [1, 3, 3], [0, 1, 2]]
    curve = roc(positives, negatives)
    assert list(curve.thresholds) == [np.inf, 0.9, 0.6, 0.2]
    assert list(curve.false_alarm_rates) == [0.0, 0.0, 0.5, 1.0]
    assert curve.detection_rates == pytest.approx([0.0, 1 / 3, 1.0, 1.0])
    pairs = precision_recall(positives, negatives)
    assert list(pairs.thresholds) == [0.9, 0.6, 0.2]
    assert pairs.precisions == pytest.approx([1.0, 3 / 4, 3 / 5])
    assert pairs.recalls == pytest.approx([1 / 3, 1.0, 1.0])
    assert auprc(positives, negatives) == pytest.approx(1 / 3 * 1.0 + 2 / 3 * 3 / 4)


@settings(deadline=None)
@given(scores, scores)
def test_the_curves_are_those_of_scikit_learn(metrics, positives, negatives):
    truth, score = labelled(positives, negatives)
    curve = roc(positives, negatives)
    alarms, hits, thresholds = metrics.roc_curve(truth, score, drop_intermediate=False)
    assert curve.false_alarm_rates == pytest.approx(alarms)
    assert curve.detection_rates == pytest.approx(hits)
    assert np.array_equal(curve.thresholds, thresholds)
    pairs = precision_recall(positives, negatives)
    precisions, recalls, rising = metrics.precision_recall_curve(truth, score)
    assert pairs.precisions[::-1] == pytest.approx(precisions[:-1])
    assert pairs.recalls[::-1] == pytest.approx(recalls[:-1])
    assert np.array_equal(pairs.thresholds[::-1], rising)
    assert auprc(positives, negatives) == pytest.approx(metrics.average_precision_score(truth, score))


@settings(deadline=None)
@given(scores, scores)
def test_the_area_under_the_curve_is_the_auroc(positives, negatives):
    curve = roc(positives, negatives)
    area = np.trapezoid(curve.detection_rates, curve.false_alarm_rates)
    assert area == pytest.approx(auroc(positives, negatives))


def test_worthless_scores_give_the_share_of_forged_cases():
    assert auprc([1.0, 1.0], [1.0] * 6) == pytest.approx(0.25)


def test_an_empty_side_is_not_a_number():
    assert np.isnan(auprc([], [1.0]))
    assert np.isnan(auprc([1.0], []))
    assert np.isnan(roc([], [1.0]).detection_rates).all()
    assert np.isnan(roc([1.0], []).false_alarm_rates).all()
    assert np.isnan(precision_recall([], [1.0]).recalls).all()
    assert roc([], []).thresholds.shape == (1,)
    assert precision_recall([], []).precisions.shape == (0,)


@pytest.mark.parametrize(("alpha", "found"), [(0.5, 0.75), (0.1, 0.5), (0.01, 0.25)])
def test_pd_counts_the_forged_scores_above_the_quantile(alpha, found):
    authentic = np.arange(100.0)  # above the quantile lie 50, 10 and 1 of them
    assert detection_rate([20.0, 60.0, 90.0, 99.0], authentic, alpha) == pytest.approx(found)


def test_pd_is_not_measurable_with_too_few_authentic_scores():
    assert np.isnan(detection_rate([1.0], np.zeros(99), 0.01))
    assert detection_rate([1.0], np.zeros(100), 0.01) == 1.0
    assert detection_rate([0.0], np.zeros(100), 0.01) == 0.0, "a tie with the quantile is not above it"
    assert np.isnan(detection_rate([], np.zeros(100), 0.01))
    assert np.isnan(detection_rate([1.0], [], 0.1))


@settings(deadline=None)
@given(scores, scores, st.sampled_from([0.5, 0.1, 0.25]))
def test_pd_is_the_highest_point_of_the_roc_curve_within_the_false_alarms(positives, negatives, alpha):
    curve, found = roc(positives, negatives), detection_rate(positives, negatives, alpha)
    if np.isnan(found):
        assert len(negatives) < 1 / alpha
    else:
        assert found == pytest.approx(curve.detection_rates[curve.false_alarm_rates <= alpha + 1e-9].max())


@pytest.mark.parametrize("alpha", [0.0, 1.0, 10.0, -0.1, np.nan])
def test_an_alpha_that_is_no_share_is_refused(alpha):
    with pytest.raises(UsageError, match="alpha"):
        detection_rate([1.0], [0.0], alpha)
