from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.reliability import brier, ece, reliability_curve, risk_coverage, risk_coverage_area

SAID, TRUE = [0.1, 0.2, 0.6, 0.8], [False, True, False, True]
cases = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1, max_size=30
)


@pytest.fixture(scope="module")
def metrics():
    return pytest.importorskip("sklearn.metrics")


def test_the_curve_of_two_bins_counted_by_hand():
    curve = reliability_curve(SAID, TRUE, bins=2)
    assert curve.probabilities == pytest.approx([0.15, 0.7])
    assert curve.frequencies == pytest.approx([0.5, 0.5])
    assert list(curve.counts) == [2, 2]
    assert ece(SAID, TRUE, bins=2) == pytest.approx((0.35 + 0.2) / 2)
    assert ece(SAID, TRUE, bins=1) == pytest.approx(0.5 - 0.425)
    assert ece(SAID, TRUE, bins=4) == pytest.approx((0.1 + 0.8 + 0.6 + 0.2) / 4)
    assert brier(SAID, TRUE) == pytest.approx((0.01 + 0.64 + 0.36 + 0.04) / 4)


def test_bins_of_unequal_count_weigh_by_their_count():
    curve = reliability_curve([0.1, 0.5, 0.5, 0.5], [0, 1, 1, 1], bins=2)
    assert list(curve.counts) == [1, 3], "ties are not torn apart"
    assert ece([0.1, 0.5, 0.5, 0.5], [0, 1, 1, 1], bins=2) == pytest.approx((0.1 + 3 * 0.5) / 4)


@pytest.mark.parametrize("count", [15, 150, 151])
def test_bins_hold_equal_counts(count):
    counts = reliability_curve(np.linspace(0, 1, count), np.zeros(count)).counts
    assert counts.size == 15
    assert np.ptp(counts) <= 1


def test_the_curve_is_that_of_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(0)
    said = rng.uniform(size=200)
    true = rng.uniform(size=200) < said**2
    frequencies, probabilities = calibration.calibration_curve(true, said, n_bins=10, strategy="quantile")
    curve = reliability_curve(said, true, bins=10)
    assert curve.probabilities == pytest.approx(probabilities)
    assert curve.frequencies == pytest.approx(frequencies)


@settings(deadline=None)
@given(cases)
def test_brier_is_that_of_scikit_learn(metrics, given_cases):
    said, true = zip(*given_cases, strict=True)
    assert brier(said, true) == pytest.approx(metrics.brier_score_loss(true, said, pos_label=True))


@settings(deadline=None)
@given(cases, st.randoms(use_true_random=False), st.integers(1, 20))
def test_the_order_of_the_cases_does_not_matter(given_cases, random, bins):
    shuffled = random.sample(given_cases, len(given_cases))
    first, again = (zip(*order, strict=True) for order in (given_cases, shuffled))
    value = ece(*first, bins)
    assert value == pytest.approx(ece(*again, bins))
    assert 0.0 <= value <= 1.0


def test_probabilities_that_hold_have_no_gap():
    rng = np.random.default_rng(0)
    said = rng.uniform(size=60_000)
    assert ece(said, rng.uniform(size=said.size) < said) < 0.01
    assert ece(said, rng.uniform(size=said.size) < said / 2) == pytest.approx(0.25, abs=0.01)


def test_nothing_is_not_a_number():
    assert np.isnan(ece([], []))
    assert np.isnan(brier([], []))
    assert np.isnan(risk_coverage_area([], []))
    assert reliability_curve([], []).counts.shape == (0,)
    assert risk_coverage([], []).risks.shape == (0,)


@pytest.mark.parametrize("measure", [ece, brier, reliability_curve])
def test_raw_scores_are_refused(measure):
    with pytest.raises(InputError, match=r"hold 1\.5 .*calibrate"):
        measure([0.5, 1.5], [True, False])
    with pytest.raises(InputError, match="outcomes hold 2"):
        measure([0.5, 0.6], [1, 2])
    with pytest.raises(UsageError, match="3 outcomes for 2 cases"):
        measure([0.5, 0.6], [1, 0, 0])


def test_no_bin_is_refused():
    with pytest.raises(UsageError, match="number of bins 0"):
        ece([0.5], [True], bins=0)


def test_risk_and_coverage_counted_by_hand():
    curve = risk_coverage([0.9, 0.5, 0.5, 0.1], [False, True, False, True])
    assert list(curve.thresholds) == [0.9, 0.5, 0.1]
    assert curve.coverages == pytest.approx([0.25, 0.75, 1.0])
    assert curve.risks == pytest.approx([0.0, 1 / 3, 0.5])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6))
def test_the_area_is_the_mean_over_every_order_of_the_ties(given_cases):
    orders = [
        o for o in itertools.permutations(given_cases) if [c for c, _ in o] == sorted((c for c, _ in o), reverse=True)
    ]
    areas = [np.mean(np.cumsum([w for _, w in order]) / np.arange(1, len(order) + 1)) for order in orders]
    assert risk_coverage_area(*zip(*given_cases, strict=True)) == pytest.approx(np.mean(areas))


def test_confidence_that_knows_the_errors_has_the_smaller_area():
    wrong = np.arange(10) < 3
    knows, worthless, fooled = (risk_coverage_area(c, wrong) for c in (np.arange(10), np.zeros(10), -np.arange(10)))
    assert knows == pytest.approx((1 / 8 + 2 / 9 + 3 / 10) / 10)
    assert knows < worthless < fooled
    assert worthless == pytest.approx(0.3)
