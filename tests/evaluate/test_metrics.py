from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamperscope.evaluate.metrics import auroc, pointing_hit, region_auroc, wilson_interval

scores = st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6), min_size=1, max_size=12)
BODY = np.ones((100, 100), dtype=bool)


@settings(deadline=None)
@given(scores, scores)
def test_auroc_is_the_share_of_pairs_in_the_right_order_with_ties_half(positives, negatives):
    wins = [(a > b) + 0.5 * (a == b) for a in positives for b in negatives]
    assert auroc(positives, negatives) == pytest.approx(np.mean(wins))
    assert auroc(negatives, positives) == pytest.approx(1.0 - np.mean(wins))


def test_auroc_of_nothing_is_not_a_number():
    assert np.isnan(auroc([], [1.0]))
    assert np.isnan(auroc([1.0], []))


def peak(row: int, column: int) -> np.ndarray:
    heatmap = np.zeros((100, 100), np.float32)
    heatmap[row, column] = 1.0
    return heatmap


@pytest.mark.parametrize(
    ("row", "column", "hit"), [(50, 50, True), (54, 50, True), (55, 50, False), (50, 60, True), (50, 61, False)]
)
def test_pointing_counts_in_millimetres_along_each_axis(row, column, hit):
    assert pointing_hit(peak(row, column), BODY, (50, 50), (2.5, 1.0), 10.0) is hit


def test_pointing_looks_inside_the_body_only():
    heatmap = peak(10, 10) + 0.5 * peak(50, 50)
    body = BODY.copy()
    body[:20] = False
    assert pointing_hit(heatmap, body, (50, 50), (1.0, 1.0), 2.0)
    assert not pointing_hit(heatmap, ~BODY, (50, 50), (1.0, 1.0), 2.0)


@pytest.mark.parametrize(("level", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_region_auroc_ranks_the_place_among_others(level, expected):
    heatmap = np.zeros((100, 100), np.float32)
    heatmap[42:58, 42:58] = level
    rng = np.random.default_rng(0)
    assert region_auroc(heatmap, BODY, (50, 50), (1.0, 1.0), rng, box_mm=16.0) == pytest.approx(expected)


def test_region_auroc_of_noise_is_a_half_on_average():
    rng = np.random.default_rng(0)
    many = [region_auroc(rng.random((100, 100)), BODY, (50, 50), (1.0, 1.0), rng, box_mm=8.0) for _ in range(60)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.12)


def test_region_auroc_without_another_place_is_not_a_number():
    body = np.zeros_like(BODY)
    body[45:55, 45:55] = True
    assert np.isnan(region_auroc(peak(50, 50), body, (50, 50), (1.0, 1.0), np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17, 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_gives_the_published_values(hits, count, low, high):
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_no_trials_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_mirrors(trial):
    hits, count = trial
    low, high = wilson_interval(hits, count)
    assert 0.0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1.0
    assert wilson_interval(count - hits, count) == pytest.approx((1.0 - high, 1.0 - low))
