from __future__ import annotations

import numpy as np
import pytest

from tamperscope.calibrate import Calibration, Tail, calibrated, fit_curve, fit_tail
from tamperscope.records import Evidence

TAIL = Tail(start=2.0, share=0.05, scale=0.7)
CALIBRATION = Calibration(TAIL, slope=1.5, offset=-2.0, miss_rates=((0.1, 0.2), (0.01, 0.4), (0.001, 0.8)))


def highest(places: int, series: int, rng: np.random.Generator) -> np.ndarray:
    """Highest score of ``places`` authentic places, for each of ``series`` series.

    P(all below s) = (1 - share · exp(-(s - start) / scale)) ^ places, solved for s; below the tail it is ``start``.
    """
    exceeding = 1.0 - rng.uniform(size=series) ** (1.0 / places)
    return TAIL.start - TAIL.scale * np.log(np.minimum(exceeding / TAIL.share, 1.0))


def test_surprise_is_linear_in_the_score_and_ordered():
    scores = np.linspace(-30.0, 30.0, 13)
    steps = np.diff(TAIL.surprise(scores, 100.0))
    assert np.allclose(steps, 5.0 / TAIL.scale / np.log(10.0), rtol=1e-4)
    assert (steps > 0).all()


def test_surprise_is_the_logarithm_of_the_places_expected_above():
    score = TAIL.start + TAIL.scale * np.log(10.0)
    assert TAIL.surprise(TAIL.start, 20.0) == pytest.approx(0.0, abs=1e-6)
    assert TAIL.surprise(score, 20.0) == pytest.approx(1.0, abs=1e-6)
    assert TAIL.surprise(score, 200.0) == pytest.approx(0.0, abs=1e-6)
    assert TAIL.surprise(score, 0.0) == TAIL.surprise(score, 1.0), "there is one place at least"


def test_probability_keeps_order_and_shape_and_stays_between_its_bounds():
    scores = np.array([[-1e6, -3.0, 0.0], [2.0, 5.0, 1e6]])
    found = CALIBRATION.probability(scores, 50.0)
    assert found.shape == scores.shape
    assert found.dtype == np.float32
    assert (np.diff(found.ravel()) > 0).all()
    assert 0.0 <= found.min() <= found.max() <= 1.0
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("rate", "places"), [(0.1, 30), (0.1, 1000), (0.1, 30_000), (0.01, 1), (0.01, 30), (0.01, 1000), (0.01, 30_000)]
)
def test_the_operating_point_is_reached_by_its_share_of_authentic_series(rate, places):
    series = 40_000
    scores = highest(places, series, np.random.default_rng(places))
    alarms = CALIBRATION.probability(scores, places) >= CALIBRATION.operating_point(rate).threshold
    assert alarms.mean() == pytest.approx(rate, abs=4.0 * np.sqrt(rate * (1.0 - rate) / series))


def test_a_mixture_of_lengths_raises_the_promised_share_of_alarms():
    rng = np.random.default_rng(5)
    threshold = CALIBRATION.operating_point(0.01).threshold
    alarms = [
        CALIBRATION.probability(highest(int(places), 1, rng), float(places))[0] >= threshold
        for places in 10 ** rng.uniform(1, 4.5, 20_000)
    ]
    assert np.mean(alarms) == pytest.approx(0.01, abs=4 * np.sqrt(0.01 / 20_000))


def test_without_the_correction_a_longer_series_would_alarm_more():
    """What the number of places is for: the same threshold on the raw score drifts with the length."""
    rng = np.random.default_rng(6)
    threshold = CALIBRATION.operating_point(0.01).threshold
    short, long = (highest(places, 20_000, rng) for places in (30, 3000))
    ignored = [float((CALIBRATION.probability(scores, 30) >= threshold).mean()) for scores in (short, long)]
    corrected = [
        float((CALIBRATION.probability(scores, places) >= threshold).mean())
        for scores, places in ((short, 30), (long, 3000))
    ]
    assert ignored[1] > 20 * ignored[0]
    assert corrected[1] == pytest.approx(corrected[0], abs=0.004)


def test_a_stricter_point_has_a_higher_threshold():
    thresholds = [CALIBRATION.operating_point(rate).threshold for rate in (0.5, 0.1, 0.01, 0.001, 1e-4)]
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == len(thresholds)
    assert all(0.0 < threshold < 1.0 for threshold in thresholds)


@pytest.mark.parametrize(
    ("rate", "missed"), [(0.1, 0.2), (0.01, 0.4), (0.001, 0.8), (10**-2.5, 0.6), (0.2, None), (1e-4, None)]
)
def test_the_miss_rate_is_read_between_the_measured_points_only(rate, missed):
    found = CALIBRATION.operating_point(rate)
    assert found.false_positive_rate == rate
    assert found.miss_rate == (None if missed is None else pytest.approx(missed))


def test_unmeasured_misses_are_none():
    assert Calibration(TAIL, 1.0, 0.0).operating_point(0.01).miss_rate is None


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_fit_tail_recovers_a_known_tail(share):
    rng = np.random.default_rng(7)
    body, tail = rng.uniform(-5.0, 2.0, 95_000), 2.0 + rng.exponential(0.7, 5_000)
    fitted = fit_tail(np.concatenate([body, tail]), share=0.05)
    assert fitted.start == pytest.approx(2.0, abs=0.01)
    assert fitted.share == pytest.approx(0.05, abs=1e-4)
    assert fitted.scale == pytest.approx(0.7, abs=4 * 0.7 / np.sqrt(5_000))
    exponential = fit_tail(rng.exponential(3.0, 50_000), share=share)
    assert exponential.scale == pytest.approx(3.0, abs=4 * 3.0 / np.sqrt(50_000 * share)), "it has no memory"


def test_fit_tail_refuses_too_few_scores():
    with pytest.raises(ValueError, match="a tail needs 20"):
        fit_tail(np.arange(100.0))
    with pytest.raises(ValueError, match="a tail needs 20"):
        fit_tail(np.zeros(10_000))


@pytest.mark.parametrize("gap", [0.0, 0.5, 5.0, 50.0], ids=["alike", "overlapping", "apart", "far apart"])
def test_fit_curve_is_finite_and_keeps_the_order(gap):
    rng = np.random.default_rng(8)
    authentic = rng.normal(0.0, 1.0, 60)
    forged = authentic[:40] + gap
    slope, offset = fit_curve(list(authentic), list(forged))
    assert np.isfinite([slope, offset]).all()
    if gap > 0:
        assert slope > 0
        means = [1 / (1 + np.exp(-(slope * group.mean() + offset))) for group in (authentic, forged)]
        assert means[0] < 0.5 < means[1]


def test_fit_curve_weighs_both_classes_alike():
    rng = np.random.default_rng(9)
    authentic, forged = rng.normal(-1, 1, 50), rng.normal(1, 1, 50)
    few = fit_curve(list(authentic), list(forged))
    many = fit_curve(list(authentic) * 20, list(forged))
    assert -few[1] / few[0] == pytest.approx(-many[1] / many[0], abs=0.15), "the middle stays where it is"


def test_calibrated_puts_everything_on_one_scale():
    rng = np.random.default_rng(10)
    heatmap = rng.normal(0.0, 2.0, (3, 16, 12)).astype(np.float32)
    scores = tuple(float(plane.max()) for plane in heatmap)
    raw = Evidence("d", max(scores), None, heatmap, scores, 70.0, ("why",))
    found = calibrated(raw, CALIBRATION)
    assert found.score == raw.score
    assert found.reasons == raw.reasons
    assert found.heatmap.dtype == np.float32
    assert float(found.heatmap.max()) == found.probability == max(found.slice_scores)
    assert [float(plane.max()) for plane in found.heatmap] == pytest.approx(list(found.slice_scores))
    assert np.array_equal(np.argsort(found.heatmap, axis=None), np.argsort(heatmap, axis=None, kind="stable"))
    assert raw.probability is None, "the raw evidence is not changed"
    assert np.array_equal(raw.heatmap, heatmap)


def test_a_score_without_map_is_calibrated_too():
    found = calibrated(Evidence("d", 4.0), CALIBRATION)
    assert found.probability == pytest.approx(float(CALIBRATION.probability(4.0, 1.0)))
    assert found.heatmap is None
    assert found.slice_scores == ()


def test_evidence_without_a_score_passes_through():
    silent = Evidence("d", None, reasons=("no lung",))
    assert calibrated(silent, CALIBRATION) is silent


def test_with_weights_each_patient_counts_alike():
    rng = np.random.default_rng(5)
    few, many = rng.exponential(1.0, 2_000), rng.exponential(3.0, 20_000)
    weights = np.concatenate([np.full(few.size, 1 / few.size), np.full(many.size, 1 / many.size)])
    alike = fit_tail(np.concatenate([few, many]), weights=weights)
    thinned = fit_tail(np.concatenate([few, rng.choice(many, few.size, replace=False)]))
    assert alike.start == pytest.approx(thinned.start, rel=0.1)
    assert alike.scale == pytest.approx(thinned.scale, rel=0.2)
    assert alike.start < fit_tail(np.concatenate([few, many])).start
