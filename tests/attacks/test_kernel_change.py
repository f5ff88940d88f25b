from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom, preprocess
from tamperscope.attacks.kernel_change import KernelChange

SOFT_TO_SHARP = {"from_per_mm": 0.35, "to_per_mm": 0.7, "limit": 3.0}
SHARP_TO_SOFT = {"from_per_mm": 0.7, "to_per_mm": 0.35, "limit": 3.0}


def response(per_mm: float, frequency: float) -> float:
    return float(np.exp(-np.log(2.0) * (frequency / per_mm) ** 2))


@pytest.mark.parametrize(("mode", "params"), [("sharpen", SOFT_TO_SHARP), ("soften", SHARP_TO_SOFT)])
@pytest.mark.parametrize("frequency", [0.1, 0.3])
def test_a_wave_is_passed_by_the_ratio_of_the_two_responses(make, mode, params, frequency):
    columns = (np.arange(128) + 0.5) * 0.8
    wave = np.broadcast_to(100.0 * np.cos(2 * np.pi * frequency * columns) - 0.5, (2, 64, 128))
    volume = make(wave - 500.0, (2.5, 0.8, 0.8))
    volume.voxels[1, 0, 0], volume.voxels[0, 0, 0] = -1024.0, -1024.0
    after = KernelChange(mode).apply(volume, params).volume.voxels[0, 32:, 20:108]
    before = volume.voxels[0, 32:, 20:108]
    expected = response(params["to_per_mm"], frequency) / response(params["from_per_mm"], frequency)
    assert after.std() / before.std() == pytest.approx(expected, rel=0.03)


def test_what_the_old_kernel_took_away_is_raised_to_the_limit_and_no_further(lung):
    fine = KernelChange("sharpen").apply(lung, SOFT_TO_SHARP | {"limit": 2.0}).volume.voxels
    spectrum = [np.abs(np.fft.fft2(v))[:, 16:33, 16:33].mean() for v in (fine, lung.voxels)]
    assert spectrum[0] / spectrum[1] == pytest.approx(2.0, rel=0.1)


def test_sharpening_raises_and_softening_lowers_the_noise_and_keeps_the_level(lung):
    before = preprocess.noise_level(lung.voxels[9])
    sharp, soft = (
        KernelChange(mode).apply(lung, params).volume.voxels
        for mode, params in (("sharpen", SOFT_TO_SHARP), ("soften", SHARP_TO_SOFT))
    )
    assert preprocess.noise_level(soft[9]) < 0.8 * before < 0.6 * preprocess.noise_level(sharp[9])
    assert soft.mean() == pytest.approx(lung.voxels.mean(), abs=0.5)


def test_a_sharp_phantom_becomes_much_like_the_soft_one():
    sharp, soft = (
        phantom.chest((1, 256, 256), (2.5, 0.7, 0.7), np.random.default_rng(1), kernel=kernel, noise_hu=0.5)
        for kernel in ("sharp", "soft")
    )
    params = {"from_per_mm": 0.70, "to_per_mm": 0.30, "limit": 3.0}
    changed = KernelChange("soften").apply(sharp, params).volume.voxels
    apart, after = (np.sqrt(np.mean((v - soft.voxels) ** 2)) for v in (sharp.voxels, changed))
    assert after < 0.25 * apart
