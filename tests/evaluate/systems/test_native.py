from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import natives
from tamperscope import phantom
from tamperscope.detectors.places import FLOOR
from tamperscope.evaluate.systems import native
from tamperscope.evaluate.systems.native import Grid

CHEST = phantom.chest((1, 128, 128), (2.5, 3.0, 3.0))
GRID = Grid(16, 8)
FILM = phantom.radiograph((64, 48))


def test_ct_is_cut_at_the_window_and_anything_else_at_its_own_percentiles():
    plane = np.array([[-2000.0, -1000.0], [-300.0, 3000.0]], dtype=np.float32)
    np.testing.assert_allclose(native.unit(plane, "CT", (-1000.0, 400.0)), [[0.0, 0.0], [0.5, 1.0]])
    ramp = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    seen = native.unit(ramp, "DX", (-1000.0, 400.0))
    assert (seen.min(), seen.max(), seen.dtype) == (0.0, 1.0, np.float32)
    assert (seen == 0.0).mean() == pytest.approx(0.005, abs=1e-3)
    assert not native.unit(np.full((3, 3), 7.0, np.float32), "DX", (0.0, 1.0)).any()


def test_the_patient_is_looked_at_and_the_lungs_are_part_of_it():
    plane = CHEST.voxels[0]
    body, lungs = native.inside(plane, "CT"), native.lungs(plane, "CT")
    assert body.shape == lungs.shape == (32, 32)
    assert 0.1 < lungs.sum() / body.sum() < 0.8
    assert not (lungs & ~body).any()
    film = FILM.voxels[0]
    assert np.array_equal(native.lungs(film, "DX"), native.inside(film, "DX"))


@pytest.mark.parametrize("value", [-1000.0, 0.0])
def test_where_nobody_is_found_everything_is_looked_at(value):
    plane = np.full((9, 5), value, np.float32)
    for modality in ("CT", "DX"):
        assert native.lungs(plane, modality).shape == (3, 2)
        assert native.lungs(plane, modality).any()
    assert native.inside(np.full((9, 5), -1000.0, np.float32), "CT").all()


def test_slices_are_cut_or_their_border_repeated():
    plane = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert native.padded(plane, 3, 4).tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert native.padded(plane, 1, 2).tolist() == [[0, 1]]
    assert native.padded(plane, 2, 3) is not None


def test_an_answer_keeps_its_peaks_and_is_floored_outside():
    volume, _ = natives.volume(0, forged=False, depth=2)
    coarse = np.zeros((2, 24, 24), np.float32)
    coarse[1, 10, 7], coarse[0, 0, 0] = 5.0, 9.0
    judged = np.ones(coarse.shape, dtype=bool)
    judged[0, 0, 0] = False
    found = native.answer(coarse, judged, volume)
    assert found.slices == (0.0, 5.0)
    assert found.highest == 5.0
    assert np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)[0] == 1
    assert found.heatmap[1, 40:44, 28:32].min() == 5.0
    assert found.heatmap.min() == FLOOR
    assert native.answer(coarse, judged, volume, score=7.0).highest == 7.0
    assert replace(found, score=1.0).highest == 1.0


def test_patches_reach_every_pixel_and_lie_where_the_patient_is():
    for length, size in ((5, 16), (16, 16), (17, 24), (33, 40), (40, 40)):
        assert GRID.size(length) == size
    everywhere = np.ones((9, 5), dtype=bool)
    corners = GRID.corners(everywhere, (33, 20))
    assert (0, 0) in corners
    assert set(corners) <= {(row, column) for row in (0, 8, 16, 24) for column in (0, 8)}
    judged = np.zeros((9, 5), dtype=bool)
    judged[:4, :4] = True
    assert GRID.corners(judged, (33, 20)) == [(0, 0), (0, 8), (8, 0)]
    assert len(GRID.corners(np.zeros((9, 5), dtype=bool), (33, 20))) == 8, "all of them where nobody is"
    plane = np.arange(33 * 20, dtype=np.float32).reshape(33, 20)
    patches = GRID.cut(plane, [(8, 0), (24, 8)])
    assert patches.shape == (2, 1, 16, 16)
    assert np.array_equal(patches[0, 0], plane[8:24, :16])
    assert np.array_equal(patches[1, 0, 8], patches[1, 0, 15]), "the border is repeated"
