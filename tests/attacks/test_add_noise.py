from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.add_noise import AddNoise


def added(volume, **params) -> np.ndarray:
    return AddNoise().apply(volume, {"seed": 1, "sigma": 0.0, **params}).volume.voxels - volume.voxels


@pytest.mark.parametrize("sigma", [0.0, 0.8])
@pytest.mark.parametrize("strength", [10.0, 30.0])
def test_it_adds_the_stated_standard_deviation(make, strength, sigma):
    noise = added(make(np.zeros((4, 64, 64)) - 0.5), strength=strength, sigma=sigma)
    assert np.clip(noise, 0.0, None).std() == pytest.approx(strength * 0.584, rel=0.05), "half of a Gaussian"


def test_smoothed_noise_is_correlated_and_white_noise_is_not(lung):
    def correlation(noise: np.ndarray) -> float:
        return float(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1])

    assert abs(correlation(added(lung, strength=20.0))) < 0.05
    assert correlation(added(lung, strength=20.0, sigma=1.0)) > 0.5
