from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

from baselines import mean_network
from tamperscope import phantom, pictures
from tamperscope.detectors.places import FLOOR
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.pictures import NETWORK
from tamperscope.evaluate.systems.regions import Regions, around, held, inside, tiles

SIDE = 16
CHEST = phantom.chest((3, 120, 100), (2.5, 3.0, 3.0))


def look(side: int = SIDE) -> Regions:
    return Regions(side, (-1000.0, 400.0), Networks({NETWORK: mean_network(side)}, threads=1))


def test_the_score_is_that_of_the_brightest_region_and_the_map_shows_it():
    volume = replace(CHEST, voxels=np.full(CHEST.shape, -1000.0, np.float32))
    volume.voxels[:, 20:100, 10:90] = -300.0
    volume.voxels[1, 60:68, 30:38] = 3000.0
    before = volume.voxels.copy()
    answer = look().answer(volume)
    assert answer.highest == answer.slices[1] > max(answer.slices[0], answer.slices[2])
    assert answer.heatmap.shape == volume.shape
    assert answer.heatmap.dtype == np.float32
    np.testing.assert_allclose(answer.heatmap.max(axis=(1, 2)), answer.slices)
    _, row, column = np.unravel_index(answer.heatmap.argmax(), volume.shape)
    assert (abs(row - 64) <= 8, abs(column - 34) <= 8) == (True, True)
    assert np.array_equal(volume.voxels, before)
    assert look().answer(volume).slices == answer.slices


def test_outside_of_the_body_nothing_is_suspicious():
    volume = replace(CHEST, voxels=CHEST.voxels.copy())
    volume.voxels[:, :6, :6] = 3000.0
    heatmap = look().answer(volume).heatmap
    assert not inside(volume.voxels[0], "CT")[:6, :6].any()
    assert heatmap[0, 0, 0] == FLOOR


def test_a_region_lies_round_its_cell():
    shown = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    found = tiles(shown, SIDE, 8)
    assert found.shape == (5, 7, SIDE, SIDE)
    for row, column in ((1, 1), (2, 3)):
        assert np.array_equal(found[row, column], around(shown, 8 * row + 4, 8 * column + 4, SIDE))
        assert np.array_equal(found[row, column], shown[8 * row - 4 : 8 * row + 12, 8 * column - 4 : 8 * column + 12])
    assert held(np.ones(shown.shape, bool), 8).shape == found.shape[:2]
    assert (around(shown, 0, 0, SIDE)[:8, :8] == shown[0, 0]).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 2, 2)])
def test_constant_and_tiny_volumes_have_a_score_too(shape):
    for value in (0.0, -1000.0):
        answer = look().answer(replace(CHEST, voxels=np.full(shape, value, np.float32)))
        assert len(answer.slices) == shape[0]
        assert np.isfinite(answer.slices).all()
        assert np.isfinite(answer.heatmap).all()


def test_a_radiograph_is_looked_at_too():
    film = phantom.radiograph((64, 48))
    answer = look().answer(film)
    assert np.isfinite(answer.slices).all()
    brightest = [pictures.native(plane, "DX", (0.0, 1.0)).max() / 255 for plane in pictures.planes(film)]
    assert answer.slices[0] <= brightest[0]


@pytest.mark.parametrize("settings", [{"side": 16}, {"side": 18, "window_hu": [0, 1]}, {"side": 16, "window_hu": 3}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(WeightsError, match="the model's input is not understood"):
        systems.made("regions", settings, Networks({}))


def test_what_is_written_is_read():
    assert systems.made("regions", look().settings, look().networks).settings == look().settings
