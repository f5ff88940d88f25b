from __future__ import annotations

import numpy as np
import pytest

from tamperscope import preprocess
from tamperscope.attacks.blur_regrain import BlurRegrain

MIDDLE = np.s_[24, 14:34, 14:34]


@pytest.fixture
def blur(no_grain):
    return no_grain | {
        "centre": [24, 24, 24],
        "size_mm": 30.0,
        "filter": "gaussian",
        "sigma": 1.5,
        "window": "hard",
    }


@pytest.mark.parametrize("change", [{}, {"filter": "median"}, {"filter": "median", "sigma": 1.0}])
def test_without_grain_the_place_is_smooth(lung, blur, change):
    forged = BlurRegrain().apply(lung, blur | change).volume.voxels
    assert preprocess.noise_level(forged[MIDDLE]) < 0.6 * preprocess.noise_level(lung.voxels[MIDDLE])


def test_with_white_grain_it_is_about_as_noisy_as_before(lung, blur):
    forged = BlurRegrain().apply(lung, blur | {"grain": "white"}).volume.voxels
    assert preprocess.noise_level(forged[MIDDLE]) == pytest.approx(preprocess.noise_level(lung.voxels[MIDDLE]), rel=0.4)


def test_a_nodule_fades(lung, blur):
    lung.voxels[23:26, 23:26, 23:26] = 40.0
    forged = BlurRegrain().apply(lung, blur | {"sigma": 3.0}).volume.voxels
    assert forged.max() < -600.0
