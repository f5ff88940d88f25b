from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks import fills
from tamperscope.attacks.inpaint import Inpaint


@pytest.fixture
def ramp(make):
    k, j, i = np.meshgrid(*[np.arange(n) for n in (7, 30, 32)], indexing="ij")
    return make(-800.0 + 0.0 * k + 3.0 * j - 2.0 * i)


def test_the_harmonic_fill_of_a_ramp_is_the_ramp(ramp, make, no_grain):
    bumped = ramp.voxels.copy()
    bumped[2:5, 13:18, 14:19] += 600.0
    params = no_grain | {"centre": [3, 15, 16], "size_mm": 14.0, "fill": "harmonic"}
    forgery = Inpaint().apply(make(bumped), params)
    np.testing.assert_allclose(forgery.volume.voxels, ramp.voxels, atol=1e-2)
    assert np.array_equal(forgery.mask, bumped != ramp.voxels)


@pytest.mark.parametrize("fill", fills.FILLS)
def test_a_nodule_becomes_lung(lung, no_grain, fill):
    lung.voxels[22:27, 22:27, 22:27] = 40.0
    params = no_grain | {"centre": [24, 24, 24], "size_mm": 20.0, "fill": fill}
    forged = Inpaint().apply(lung, params).volume.voxels
    assert forged[22:27, 22:27, 22:27].max() < -700.0


def test_a_hole_at_the_border_is_filled_from_the_sides_that_exist(ramp, no_grain):
    params = no_grain | {"centre": [3, 0, 0], "size_mm": 60.0, "fill": "harmonic"}
    forged = Inpaint().apply(ramp, params).volume.voxels
    assert forged.min() >= ramp.voxels.min()
    assert forged.max() <= ramp.voxels.max(), "the maximum principle of Laplace's equation"


def test_a_mode_fixes_the_fill_and_patches_bring_their_own_grain(lung):
    for mode in fills.FILLS:
        params = Inpaint(mode).sample(lung, np.random.default_rng(0), (24, 24, 24))
        assert params["fill"] == mode
    assert params["grain"] == "none"
    forgery = Inpaint("patchmatch").apply(lung, params)
    assert forgery.volume.voxels[forgery.mask].std() > 0.4 * lung.voxels[forgery.mask].std()


def test_a_box_two_slices_deep_is_filled_too(make, no_grain):
    thin = make(np.full((2, 40, 40), -850.0) + 700.0 * (np.hypot(*np.ogrid[-20:20, -20:20]) < 4.0))
    forgery = Inpaint().apply(thin, no_grain | {"centre": [0, 20, 20], "size_mm": 22.0, "fill": "harmonic"})
    assert forgery.mask.any(axis=(1, 2)).all()
    assert forgery.volume.voxels[:, 20, 20].max() < -700.0
