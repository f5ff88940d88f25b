from __future__ import annotations

import math

import numpy as np
import pytest

from tamperscope.evaluate.texture_features import NAMES, texture_features


def described(plane) -> dict[str, float]:
    features = texture_features(np.asarray(plane, np.float32))
    assert features.shape == (24,)
    assert features.dtype == np.float32
    return dict(zip(NAMES, features.tolist(), strict=True))


def checkerboard(side: int = 64):
    return np.indices((side, side)).sum(axis=0) % 2


def noise(spread: float = 20.0):
    return np.random.default_rng(0).normal(-600.0, spread, (256, 256))


def test_there_are_24_names_and_each_once():
    assert len(set(NAMES)) == len(NAMES) == 24


def test_a_constant_has_a_level_and_nothing_else():
    found = described(np.full((40, 30), -600.0))
    ones = {"pair_energy", "pair_homogeneity"}
    levels = {"mean", "median", "percentile_5", "percentile_95"}
    assert {name for name, value in found.items() if value == -600.0} == levels
    assert {name for name, value in found.items() if value == 1.0} == ones
    assert all(value == 0.0 for name, value in found.items() if name not in levels | ones)


def test_a_checkerboard_by_hand():
    found = described(checkerboard())
    # Neighbours in a row or column always differ, by all 31 levels; diagonal ones never do. Each is half the mean.
    assert found["mean"] == found["deviation"] == 0.5
    assert found["skewness"] == pytest.approx(0.0, abs=1e-6)
    assert found["kurtosis"] == pytest.approx(-2.0, abs=1e-5)
    assert found["entropy"] == found["pair_entropy"] == pytest.approx(1.0, abs=1e-3)
    assert found["pair_energy"] == pytest.approx(0.5, abs=1e-3)
    assert found["pair_contrast"] == pytest.approx(31**2 / 2, rel=1e-3)
    assert found["pair_correlation"] == pytest.approx(0.0, abs=1e-3)
    assert found["pair_homogeneity"] == pytest.approx((1 / (1 + 31**2) + 1) / 2, abs=1e-3)
    assert found["pair_sum_entropy"] == pytest.approx(0.5, abs=1e-3)
    assert found["pair_difference_entropy"] == pytest.approx(0.0, abs=1e-6)
    assert found["pair_information"] == pytest.approx(-1.0, abs=1e-3)
    assert found["gradient_mean"] == pytest.approx(math.sqrt(2.0))
    assert found["gradient_deviation"] == pytest.approx(0.0, abs=1e-6)
    assert found["gradient_direction"] == pytest.approx(0.0, abs=1e-6)
    assert found["spectrum_high"] == pytest.approx(1.0, abs=1e-3)
    assert found["spectrum_flatness"] < 1e-3


def test_white_noise_by_hand():
    found = described(noise())
    assert found["deviation"] == pytest.approx(20.0, rel=0.02)
    assert found["percentile_95"] - found["mean"] == pytest.approx(1.645 * 20.0, rel=0.03)
    assert found["skewness"] == pytest.approx(0.0, abs=0.05)
    assert found["kurtosis"] == pytest.approx(0.0, abs=0.1)
    assert found["pair_correlation"] == pytest.approx(0.0, abs=0.02)
    assert found["pair_information"] == pytest.approx(0.0, abs=0.02)
    assert found["gradient_direction"] == pytest.approx(0.0, abs=0.02)
    assert found["spectrum_slope"] == pytest.approx(0.0, abs=0.1)
    assert found["spectrum_low"] == pytest.approx(math.pi / 16**2, rel=0.2)
    assert found["spectrum_high"] == pytest.approx(1.0 - math.pi / 4**2, rel=0.02)
    assert found["spectrum_flatness"] == pytest.approx(math.exp(-np.euler_gamma), rel=0.03)


def test_smoothing_shows_in_every_kind():
    rough = noise()
    smooth = (rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1) + np.roll(rough, (1, 1), (0, 1))) / 4
    before, after = described(rough), described(smooth)
    assert after["deviation"] == pytest.approx(before["deviation"] / 2, rel=0.02)
    assert after["pair_correlation"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4, abs=0.03)
    assert after["gradient_mean"] < 0.5 * before["gradient_mean"]
    assert after["spectrum_slope"] < before["spectrum_slope"] - 0.5
    assert after["spectrum_high"] < 0.6 * before["spectrum_high"]


def test_the_direction_of_stripes():
    stripes = np.indices((32, 32))[1] % 4 // 2
    assert described(stripes)["gradient_direction"] == 1.0
    assert described(stripes.T)["gradient_direction"] == -1.0


def test_the_unit_counts_only_where_it_must():
    one, other = described(noise()), described(3.0 * noise() + 50.0)
    in_unit = set(NAMES[:5]) | {"gradient_mean", "gradient_deviation"}
    for name in NAMES:
        if name not in in_unit:
            assert other[name] == pytest.approx(one[name], abs=1e-2), name
    assert other["gradient_mean"] == pytest.approx(3.0 * one["gradient_mean"], rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5)])
def test_tiny_pictures_are_finite_and_inputs_are_left_alone(shape):
    plane = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    kept = plane.copy()
    assert np.isfinite(texture_features(plane)).all()
    assert np.array_equal(plane, kept)


@pytest.mark.parametrize("value", [1e-30, 3e4])
def test_one_odd_pixel_is_finite(value):
    plane = np.zeros((20, 20), np.float32)
    plane[10, 10] = value
    assert np.isfinite(texture_features(plane)).all()
