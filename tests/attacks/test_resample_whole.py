from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tamperscope import preprocess
from tamperscope.attacks.resample_whole import ResampleWhole


@pytest.fixture
def disc(make):
    j, i = np.mgrid[-16:17, -16:17]
    return make(np.repeat(np.where(j**2 + i**2 < 36, 40.0, -850.0)[None], 2, axis=0))


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("zoom", [0.85, 1.3])
def test_the_matrix_and_the_centre_stay_and_sizes_grow(disc, zoom, order):
    moved = ResampleWhole().apply(disc, {"zoom": zoom, "shift": [0.0, 0.0], "order": order}).volume.voxels
    assert moved.shape == disc.voxels.shape
    bright, before = moved[0] > -400, disc.voxels[0] > -400
    np.testing.assert_allclose(ndimage.center_of_mass(bright), (16, 16), atol=0.1)
    assert bright.sum() / before.sum() == pytest.approx(zoom**2, rel=0.15)


def test_neither_zoom_nor_shift_is_the_original(lung):
    same = ResampleWhole().apply(lung, {"zoom": 1.0, "shift": [0.0, 0.0], "order": 1}).volume
    assert (same.voxels == lung.voxels).all()


def test_half_a_pixel_of_shift_takes_noise_away(lung):
    moved = ResampleWhole().apply(lung, {"zoom": 1.0, "shift": [0.5, 0.5], "order": 1}).volume
    assert preprocess.noise_level(moved.voxels[9]) < 0.7 * preprocess.noise_level(lung.voxels[9])
