from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.overlap import best_f1, box_iou, flagged_share, iou, pixel_f1, pointing_game, voxel_ap
from tamperscope.evaluate.ranking import auprc

MAP = np.array([[[0.9, 0.8, 0.7], [0.4, 0.2, 0.1]]], np.float32)
MASK = np.array([[[True, False, True], [True, False, False]]])
levels = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-10, 10, width=32)
grids = array_shapes(min_dims=3, max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=levels), arrays(np.bool_, shape))
)
corner = st.tuples(*[st.integers(-4, 4)] * 3)
boxes = st.tuples(corner, corner).map(lambda ends: (np.minimum(*ends), np.maximum(*ends)))


@pytest.fixture(scope="module")
def metrics():
    return pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize(
    ("threshold", "f1", "overlap"),
    [(0.5, 2 / 3, 1 / 2), (0.4, 6 / 7, 3 / 4), (0.0, 6 / 9, 3 / 6), (0.85, 1 / 2, 1 / 3), (1e300, 0.0, 0.0)],
)
def test_overlap_counted_by_hand(threshold, f1, overlap):
    assert pixel_f1(MAP, MASK, threshold) == pytest.approx(f1)
    assert iou(MAP, MASK, threshold) == pytest.approx(overlap)


def test_a_value_at_the_threshold_is_flagged_in_the_precision_of_the_map():
    heatmap = np.full((1, 1, 1), 0.7, np.float32)  # as float64 a little below 0.7
    assert flagged_share(heatmap, 0.7) == 1.0


def test_the_flagged_share_of_an_authentic_volume():
    assert flagged_share(MAP, 0.5) == pytest.approx(0.5)
    assert np.isnan(flagged_share(np.zeros((0, 4, 4), np.float32), 0.5))


@pytest.mark.parametrize("shape", [(1, 2, 3), (0, 4, 4)])
def test_an_empty_mask_is_not_a_number(shape):
    heatmap, mask = np.ones(shape, np.float32), np.zeros(shape, bool)
    oracle = best_f1(heatmap, mask)
    values = [pixel_f1(heatmap, mask, 0.5), iou(heatmap, mask, 0.5), oracle.f1, oracle.threshold]
    assert np.isnan([*values, voxel_ap(heatmap, mask), pointing_game(heatmap, mask)]).all()


def test_a_full_mask_leaves_nothing_to_rank_against():
    assert np.isnan(voxel_ap(MAP, np.ones_like(MASK)))
    assert best_f1(MAP, np.ones_like(MASK)).f1 == 1.0


def test_the_oracle_is_found_by_hand():
    oracle = best_f1(MAP, MASK)
    assert oracle.f1 == pytest.approx(6 / 7)
    assert oracle.threshold == pytest.approx(0.4)


@settings(deadline=None)
@given(grids)
def test_the_oracle_is_the_best_over_all_thresholds_and_the_scores_are_those_of_scikit_learn(metrics, grid):
    heatmap, mask = grid
    if mask.any():
        oracle = best_f1(heatmap, mask)
        assert oracle.f1 == pytest.approx(max(pixel_f1(heatmap, mask, t) for t in np.unique(heatmap)))
        assert oracle.f1 == pytest.approx(pixel_f1(heatmap, mask, oracle.threshold))
        flagged = (heatmap >= 0.5).ravel()
        assert pixel_f1(heatmap, mask, 0.5) == pytest.approx(metrics.f1_score(mask.ravel(), flagged))
        assert iou(heatmap, mask, 0.5) == pytest.approx(metrics.jaccard_score(mask.ravel(), flagged))
        if not mask.all():
            theirs = metrics.average_precision_score(mask.ravel(), heatmap.ravel())
            assert voxel_ap(heatmap, mask) == pytest.approx(theirs)
            assert voxel_ap(heatmap, mask) == pytest.approx(auprc(heatmap[mask], heatmap[~mask]))


def test_measuring_changes_nothing():
    heatmap, mask = MAP.copy(), MASK.copy()
    for one in (heatmap, mask):
        one.setflags(write=False)
    best_f1(heatmap, mask), voxel_ap(heatmap, mask), pointing_game(heatmap, mask)
    assert np.array_equal(heatmap, MAP)
    assert np.array_equal(mask, MASK)


def test_pointing_looks_at_the_maximum_alone():
    assert pointing_game(MAP, MASK) == 1.0
    assert pointing_game(MAP, ~MASK) == 0.0


def test_a_flat_map_points_nowhere():
    assert pointing_game(np.zeros_like(MAP), MASK) == pytest.approx(0.5)
    tied = np.where(MAP > 0.75, np.float32(1.0), MAP)  # one of the two inside
    assert pointing_game(tied, MASK) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (([0, 0, 0], [1, 1, 1]), 1.0),
        (([1, 1, 1], [2, 2, 2]), 1 / 15),
        (([0, 0, 0], [1, 1, 0]), 1 / 2),
        (([2, 0, 0], [3, 1, 1]), 0.0),
        (([0, 0, 0], [0, 0, 0]), 1 / 8),
        (([5, 5, 5], [9, 9, 9]), 0.0),
    ],
)
def test_boxes_count_their_corners(second, expected):
    assert box_iou(([0, 0, 0], [1, 1, 1]), second) == pytest.approx(expected)


@settings(deadline=None)
@given(boxes, boxes)
def test_the_boxes_are_those_of_their_masks(first, second):
    drawn = []
    for low, high in (first, second):
        mask = np.zeros((9, 9, 9), bool)
        mask[tuple(slice(a + 4, b + 5) for a, b in zip(low, high, strict=True))] = True
        drawn.append(mask)
    assert box_iou(first, second) == pytest.approx((drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum())
    assert box_iou(first, second) == box_iou(second, first)


@pytest.mark.parametrize(
    ("box", "error"),
    [
        (([0, 0], [1, 1]), UsageError),
        (([0, 0, 0], [1, 1]), UsageError),
        (([0, 0, 0], [1, 1, -1]), InputError),
        (([0.0, 0.0, 0.0], [1.0, 1.0, 1.5]), InputError),
        (([], []), UsageError),
    ],
)
def test_what_is_no_box_is_refused(box, error):
    with pytest.raises(error, match="box"):
        box_iou(box, ([0, 0, 0], [1, 1, 1]))


@pytest.mark.parametrize("measure", [best_f1, voxel_ap, pointing_game, lambda h, m: pixel_f1(h, m, 0.5)])
@pytest.mark.parametrize(
    ("heatmap", "mask", "error"),
    [
        (MAP[0], MASK[0], UsageError),
        (MAP, MASK[:, :1], UsageError),
        (MAP, MASK.astype(np.uint8), InputError),
        (np.where(MASK, np.nan, MAP), MASK, InputError),
        ((MAP * 10).astype(np.int16), MASK, InputError),
        (MAP.astype(str), MASK, InputError),
    ],
)
def test_other_maps_and_masks_are_refused(measure, heatmap, mask, error):
    with pytest.raises(error):
        measure(heatmap, mask)


@settings(deadline=None)
@given(st.floats() | st.integers(-10, 10))
def test_any_threshold_is_measured_or_refused(threshold):
    if np.isnan(threshold):
        with pytest.raises(UsageError, match="threshold is NaN"):
            flagged_share(MAP, threshold)
    else:
        assert 0.0 <= flagged_share(MAP, threshold) <= 1.0
