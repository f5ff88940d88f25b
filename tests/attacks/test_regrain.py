from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tamperscope import preprocess
from tamperscope.attacks.regrain import Regrain

PLAIN = {"centre": [6, 40, 40], "size_mm": 24.0, "gain": 1.0, "window": "hard", "seed": 5}
PLACE = np.s_[:, 28:52, 28:52]


@pytest.fixture
def calmed(make):
    """Lung whose noise has a grain of its own; in the middle of it most of that noise is gone."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0.0, 1.0, (12, 80, 80)), (0.0, 0.8, 0.8))
    noise *= 25.0 / noise.std()
    pristine = make(np.rint(-850.0 + noise))
    noise[PLACE] *= 0.2
    return pristine, make(np.rint(-850.0 + noise))


def correlation(noise: np.ndarray) -> float:
    return float(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1])


def test_a_smooth_place_gets_the_strength_and_the_grain_of_its_surroundings(calmed):
    pristine, smooth = calmed
    forged = Regrain().apply(smooth, PLAIN).volume.voxels
    assert forged[PLACE].std() == pytest.approx(pristine.voxels[PLACE].std(), rel=0.12)
    assert correlation(forged[PLACE]) == pytest.approx(correlation(pristine.voxels[PLACE]), abs=0.12)
    levels = [preprocess.noise_level(v[6][28:52, 28:52]) for v in (forged, pristine.voxels)]
    assert levels[0] == pytest.approx(levels[1], rel=0.25)


def test_a_place_that_lacks_nothing_gets_next_to_nothing(calmed):
    pristine, _ = calmed
    forged = Regrain().apply(pristine, PLAIN).volume.voxels
    assert (forged - pristine.voxels)[PLACE].std() < 0.4 * 25.0


def test_noise_is_never_taken_away(calmed):
    _, smooth = calmed
    loud = smooth.voxels.copy()
    loud[PLACE] = 15.0 * (loud[PLACE] + 850.0) - 850.0
    forged = Regrain().apply(replace(smooth, voxels=loud), PLAIN).volume.voxels
    assert forged[PLACE].std() > 0.98 * loud[PLACE].std()


def test_the_grain_of_another_tissue_is_not_taken(calmed):
    _, smooth = calmed
    wall = smooth.voxels.copy()
    wall[:, :, 52:] = 40.0 + 20.0 * (wall[:, :, 52:] + 850.0)
    forged = Regrain().apply(replace(smooth, voxels=wall), PLAIN).volume.voxels
    assert forged[PLACE].std() < 45.0


def test_without_room_for_a_ring_nothing_happens(make):
    small = make(np.random.default_rng(1).normal(-850.0, 20.0, (3, 20, 20)))
    assert not Regrain().apply(small, PLAIN | {"centre": [1, 10, 10], "size_mm": 16.0}).mask.any()
