from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.resample_paste import ResamplePaste


@pytest.fixture
def still(no_grain):
    """Nothing zoomed, nothing shifted."""
    return no_grain | {
        "centre": [24, 24, 24],
        "size_mm": 24.0,
        "zoom": 1.0,
        "shift": [0.0, 0.0],
        "order": 3,
        "window": "hard",
    }


def test_without_zoom_and_shift_nothing_changes(lung, still):
    assert not ResamplePaste().apply(lung, still).mask.any()


@pytest.mark.parametrize("change", [{"zoom": 0.5}, {"shift": [0.5, 0.5], "order": 1}])
def test_interpolation_takes_noise_away_and_keeps_the_level(lung, still, change):
    place = np.s_[16:32, 16:32, 16:32]
    forged = ResamplePaste().apply(lung, still | change).volume.voxels[place]
    assert forged.std() < 0.7 * lung.voxels[place].std()
    assert forged.mean() == pytest.approx(lung.voxels[place].mean(), abs=2.0)
