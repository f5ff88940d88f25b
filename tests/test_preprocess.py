from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom, preprocess
from tamperscope.preprocess import channels, high_pass, noise_level, upsample

CLIP = (-1000.0, 400.0)


@pytest.fixture(scope="module")
def chest():
    return phantom.chest((4, 192, 192), (2.5, 1.9, 1.9))


def test_channels_have_their_shape_and_ranges(chest):
    seen = channels(chest.voxels[0], CLIP)
    assert seen.shape == (preprocess.CHANNELS, 192, 192)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert seen[0].min() >= -1.0
    assert seen[0].max() <= 1.0
    assert np.abs(seen[1:]).max() <= 4.0


def test_the_picture_channel_is_linear_over_the_window():
    plane = np.array([[-2000.0, -1000.0], [-300.0, 400.0], [3000.0, -650.0]], np.float32)
    np.testing.assert_allclose(channels(plane, CLIP)[0], [[-1, -1], [0, 1], [1, -0.5]], atol=1e-6)


def test_the_relative_channel_does_not_care_for_the_dose():
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((64, 64)).astype(np.float32)
    quiet, loud = (channels(40.0 + sigma * pattern, CLIP) for sigma in (10.0, 30.0))
    np.testing.assert_allclose(quiet[2], loud[2], atol=1e-3)
    assert loud[1].std() == pytest.approx(3 * quiet[1].std(), rel=0.02)


@pytest.mark.parametrize("level", [-1000.0, 40.0])
def test_channels_of_a_constant_are_finite(level):
    seen = channels(np.full((9, 7), level, np.float32), CLIP)
    assert np.isfinite(seen).all()
    assert not seen[1:].any()


def test_the_high_pass_takes_away_constants_and_ramps():
    j, i = np.mgrid[:20, :24].astype(np.float32)
    residual = high_pass(5.0 + 2.0 * j - 3.0 * i)
    np.testing.assert_allclose(residual[1:-1, 1:-1], 0.0, atol=1e-4)
    assert residual.shape == (20, 24)


def test_the_noise_level_follows_the_noise_and_not_the_anatomy():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((128, 128)).astype(np.float32)
    step = np.where(np.arange(128) < 64, -800.0, 40.0).astype(np.float32)
    levels = [noise_level(step + sigma * noise) for sigma in (5.0, 10.0, 20.0)]
    assert levels[1] == pytest.approx(2 * levels[0], rel=0.05)
    assert levels[2] == pytest.approx(4 * levels[0], rel=0.05)
    assert noise_level(np.full((8, 8), -1000.0, np.float32)) == preprocess.SMALLEST_NOISE_HU


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("shape", [(64, 48), (61, 45), (5, 3)])
def test_upsampling_a_constant_is_exact(shape, stride):
    coarse = np.full([-(-n // stride) for n in shape], 0.3, np.float32)
    assert np.array_equal(upsample(coarse, (stride, stride), shape), np.full(shape, 0.3, np.float32))


def test_upsampling_a_ramp_is_exact_between_the_outer_centres():
    rows, columns = np.mgrid[:16, :12].astype(np.float32)
    fine = upsample(2.0 * rows - columns, (4, 4), (64, 48))
    j, i = np.mgrid[:64, :48]
    expected = 2.0 * ((j + 0.5) / 4 - 0.5) - ((i + 0.5) / 4 - 0.5)
    np.testing.assert_allclose(fine[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)
    assert fine.dtype == np.float32
    assert fine[0, 0] == pytest.approx(0.0), "the border holds its value"
