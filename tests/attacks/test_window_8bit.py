from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks.window_8bit import Window8bit


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((2, 96, 96), (2.5, 3.7, 3.7))


def test_inside_the_window_no_value_moves_further_than_half_a_step(volume):
    forged = Window8bit().apply(volume, {"low": -1350.0, "high": 150.0}).volume.voxels
    inside = volume.voxels < 150.0
    assert np.abs(forged - volume.voxels)[inside].max() <= 1500.0 / 255.0 / 2 + 0.5
    assert len(np.unique(forged)) <= 256


def test_outside_the_window_values_end(volume):
    forged = Window8bit().apply(volume, {"low": -160.0, "high": 240.0}).volume.voxels
    assert (forged[volume.voxels < -160.0] == -160.0).all()
    assert (forged[volume.voxels > 240.0] == 240.0).all()


def test_ct_is_read_in_windows_and_a_radiograph_keeps_most_of_its_range():
    film = phantom.radiograph((64, 64))
    for seed in range(10):
        params = Window8bit().sample(film, np.random.default_rng(seed))
        inside = (film.voxels >= params["low"]) & (film.voxels <= params["high"])
        assert inside.mean() > 0.9
