from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import anatomy, phantom
from tamperscope.detectors import places
from tamperscope.inputs import ct

SHAPE, COARSE = (4, 66, 83), (4, 17, 21)


def volume(spacing: tuple[float, float, float] = (2.5, 1.0, 2.0), shape: tuple[int, int, int] = SHAPE):
    return phantom.chest(shape, spacing)


def coarse(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, COARSE).astype(np.float32)


def test_the_body_lies_on_the_coarse_grid():
    chest = phantom.chest((2, 130, 99), (2.5, 2.8, 2.8))
    inside = ct.body_of(chest)
    assert inside.shape == (2, 33, 25)
    assert inside.dtype == bool
    fine = inside.repeat(4, axis=1).repeat(4, axis=2)[:, :130, :99]
    assert np.array_equal(fine, anatomy.body(chest.voxels))


def test_places_are_squares_of_32_mm_added_up_over_the_slices():
    inside = np.ones(COARSE, dtype=bool)
    area = inside.sum() * 16 * 1.0 * 2.0
    assert ct.count_places(inside, volume()) == pytest.approx(area / 32**2)
    assert ct.count_places(inside[:2], volume()) == pytest.approx(area / 32**2 / 2)
    assert ct.count_places(np.zeros(COARSE, bool), volume()) == 1.0


def test_a_finer_grid_of_the_same_body_has_as_many_places():
    coarse_grid = ct.count_places(np.ones((1, 20, 20), bool), volume((2.5, 2.0, 2.0)))
    fine_grid = ct.count_places(np.ones((1, 40, 40), bool), volume((2.5, 1.0, 1.0)))
    assert coarse_grid == pytest.approx(fine_grid)


def test_place_scores_are_the_highest_of_each_square():
    chest = volume()  # 32 mm are 8 cells down and 4 cells across
    values = coarse()
    found = places.place_scores(values, np.ones(COARSE, bool), chest)
    assert found.dtype == np.float32
    assert len(found) == 4 * 3 * 6
    assert found.max() == values.max()
    assert found[0] == values[0, :8, :4].max()
    assert found[1] == values[1, :8, :4].max()


def test_place_scores_take_only_squares_that_are_mostly_body():
    inside = np.zeros(COARSE, dtype=bool)
    inside[1, :8, :4] = True
    inside[2, :3, :4] = True
    values = coarse()
    values[1, 0, 5] = 99.0
    assert places.place_scores(values, inside, volume()) == pytest.approx([values[1, :8, :4].max()])
    assert places.place_scores(values, np.zeros(COARSE, bool), volume()).size == 0


def test_place_scores_and_places_count_alike():
    inside = np.ones((3, 32, 32), dtype=bool)
    chest = volume((2.5, 1.0, 1.0), (3, 128, 128))
    scores = places.place_scores(np.zeros(inside.shape, np.float32), inside, chest)
    assert len(scores) == ct.count_places(inside, chest) == 48


def test_through_slices_leaves_one_slice_and_thick_slices_alone():
    one = coarse()[:1]
    assert np.array_equal(ct.through_slices(one, volume(shape=(1, 66, 83))), one)
    thick = coarse()
    assert np.array_equal(ct.through_slices(thick, volume((10.0, 1.0, 2.0))), thick)


@pytest.mark.parametrize("distance", [0.01, 0.5, 1.25, 2.5, 5.0])
def test_through_slices_averages_neighbours_and_keeps_a_constant(distance):
    chest = volume((distance, 1.0, 2.0))
    peak = np.zeros(COARSE, np.float32)
    peak[1] = 1.0
    smooth = ct.through_slices(peak, chest)
    assert smooth.dtype == np.float32
    assert smooth[1, 0, 0] < 1.0
    assert 0.0 < smooth[2, 0, 0] <= smooth[1, 0, 0]
    assert np.allclose(ct.through_slices(np.ones_like(peak), chest), 1.0)
    assert np.allclose(smooth, smooth[:, :1, :1]), "nothing moves within a slice"


def test_evidence_is_highest_where_the_map_is():
    chest = volume()
    values = coarse()
    values[2, 10, 7] = 9.0
    found = places.evidence("d", values, np.ones(COARSE, bool), chest, 7.0)
    assert found.score == 9.0 == max(found.slice_scores)
    assert found.slice_scores[2] == 9.0
    assert found.slice_scores[0] == values[0].max()
    k, j, i = np.unravel_index(int(found.heatmap.argmax()), chest.shape)
    assert (k, j // 4, i // 4) == (2, 10, 7)
    assert [float(plane.max()) for plane in found.heatmap] == list(found.slice_scores)


def test_a_single_cell_keeps_its_value_beside_the_floor():
    """Interpolation alone would lower it, and a suspicious score would have no place in the heat map."""
    inside = np.zeros(COARSE, dtype=bool)
    inside[0, 8, 8] = True
    found = places.evidence("d", coarse(), inside, volume(), 7.0)
    assert found.score == coarse()[0, 8, 8]
    assert (found.heatmap[0, 32:36, 32:36] == found.score).all()


def test_outside_the_body_nothing_is_suspicious():
    values = coarse()
    values[1, 0, 0] = 50.0
    inside = np.ones(COARSE, dtype=bool)
    inside[1, :2, :2] = False
    inside[3] = False
    found = places.evidence("d", values, inside, volume(), 7.0)
    assert found.score < 50.0
    assert found.slice_scores[3] == places.FLOOR
    assert (found.heatmap[3] == places.FLOOR).all()
    assert found.heatmap[1, 0, 0] == places.FLOOR


def test_a_map_without_a_body_has_no_score():
    found = places.evidence("d", coarse(), np.zeros(COARSE, bool), volume(), 7.0)
    assert found.score is None
    assert found.reasons == ("no patient was found in the picture",)


def test_one_cell_is_enough():
    tiny = replace(volume(shape=(1, 3, 2)))
    found = places.evidence("d", np.full((1, 1, 1), 2.5, np.float32), np.ones((1, 1, 1), bool), tiny, 7.0)
    assert (found.score, found.places) == (2.5, 7.0)
    assert (found.heatmap == 2.5).all()
