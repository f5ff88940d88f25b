from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope.attacks.intensity import Intensity

PLAIN = {"centre": [24, 24, 24], "size_mm": 20.0, "gain": 1.0, "offset": 0.0, "window": "ellipsoid"}
MIDDLE = np.s_[22:27, 22:27, 22:27]


def test_an_offset_moves_the_level_and_keeps_the_noise(lung):
    forged = Intensity().apply(lung, PLAIN | {"offset": 120.0}).volume.voxels
    np.testing.assert_allclose(forged[MIDDLE], lung.voxels[MIDDLE] + 120.0, atol=2.0)


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_a_gain_stretches_the_contrast_about_the_median(lung, gain):
    forged = Intensity().apply(lung, PLAIN | {"gain": gain}).volume.voxels
    assert forged[MIDDLE].std() == pytest.approx(gain * lung.voxels[MIDDLE].std(), rel=0.05)
    assert np.median(forged[MIDDLE]) == pytest.approx(-850.0, abs=6.0)


def test_neither_changes_nothing_and_the_window_falls_off(lung):
    assert not Intensity().apply(lung, PLAIN).mask.any()
    forgery = Intensity().apply(lung, PLAIN | {"offset": 100.0})
    assert not forgery.mask[:, :, :13].any()
    assert not forgery.mask[14, 14].any()


def test_the_offset_is_drawn_in_the_unit_of_the_picture(lung):
    bright = replace(lung, voxels=lung.voxels * 50.0, modality="DX")
    offsets = [abs(Intensity().sample(bright, np.random.default_rng(s), (24, 24, 24))["offset"]) for s in range(9)]
    span = float(np.subtract(*np.percentile(bright.voxels, (99.0, 1.0))))
    assert 0.03 * span <= min(offsets)
    assert max(offsets) <= 0.25 * span
    assert abs(Intensity().sample(lung, np.random.default_rng(0), (24, 24, 24))["offset"]) <= 250.0
