from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.add_noise import AddNoise


def added(volume, **params) -> np.ndarray:
    plain = {"seed": 1, "sigma": 0.0, "roll_off": 0.0, "streaks": 0.0, "degrees": 0.0}
    return AddNoise().apply(volume, plain | params).volume.voxels - volume.voxels


@pytest.mark.parametrize("shaped", [{}, {"sigma": 0.8}, {"roll_off": 0.2, "streaks": 5.0}])
@pytest.mark.parametrize("strength", [10.0, 30.0])
def test_it_adds_the_stated_standard_deviation(make, strength, shaped):
    noise = added(make(np.zeros((4, 64, 64)) - 0.5), strength=strength, **shaped)
    assert np.clip(noise, 0.0, None).std() == pytest.approx(strength * 0.584, rel=0.05), "half of a Gaussian"


def test_smoothed_noise_is_correlated_and_white_noise_is_not(lung):
    def correlation(noise: np.ndarray) -> float:
        return float(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1])

    assert abs(correlation(added(lung, strength=20.0))) < 0.05
    assert correlation(added(lung, strength=20.0, sigma=1.0)) > 0.5


def test_reconstructed_noise_has_a_ramp_and_its_streaks_run_across(lung):
    def power(**streaks: float) -> np.ndarray:
        noise = added(lung, strength=20.0, roll_off=0.25, **streaks)
        return (np.abs(np.fft.fft2(noise, axes=(1, 2))) ** 2).mean(0)

    even, streaky = power(), power(streaks=10.0)
    assert even[[0, 1, 1], [1, 0, 1]].mean() < 0.4 * even[[0, 8, 6], [8, 0, 6]].mean(), "the ramp"
    assert streaky[6:10, :3].mean() > 3.0 * streaky[:3, 6:10].mean(), "streaks along the rows change from row to row"
