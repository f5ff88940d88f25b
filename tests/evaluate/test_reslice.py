from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.reslice import halved, thickened


@pytest.fixture
def case():
    """Five slices of whole numbers; the fourth is forged."""
    chest = phantom.chest((5, 32, 32), (2.5, 4.0, 4.0), np.random.default_rng(0))
    mask = np.zeros(chest.shape, dtype=bool)
    mask[3, 10:14, 10:14] = True
    return Case("c", "p", True, replace(chest, sources=tuple("abcde")), mask, ((3, 12, 12),), {})


def test_pairs_are_averaged_and_the_truth_goes_along(case):
    thick = thickened(case)
    old, new = case.volume, thick.volume
    assert new.shape == (3, 32, 32)
    assert np.array_equal(new.voxels[0], np.rint((old.voxels[0] + old.voxels[1]) / 2))
    assert np.array_equal(new.voxels[2], old.voxels[4]), "the last has no partner"
    assert new.spacing_mm == pytest.approx((5.0, 4.0, 4.0))
    assert new.position_mm((0, 0, 0)) == pytest.approx(old.position_mm((0.5, 0, 0)))
    assert thick.mask.any(axis=(1, 2)).tolist() == [False, True, False]
    assert thick.places == ((1, 12, 12),)
    assert new.sources == ("a", "c", "e")
    assert new.digest != old.digest


def test_a_slice_comes_between_each_two(case):
    fine = halved(case)
    old, new = case.volume, fine.volume
    assert new.shape == (9, 32, 32)
    assert np.array_equal(new.voxels[::2], old.voxels)
    assert np.array_equal(new.voxels[1], np.rint((old.voxels[0] + old.voxels[1]) / 2))
    assert new.spacing_mm == pytest.approx((1.25, 4.0, 4.0))
    assert fine.mask.any(axis=(1, 2)).tolist() == [False] * 5 + [True] * 3 + [False]
    assert fine.places == ((6, 12, 12),)
    assert new.position_mm((6, 0, 0)) == pytest.approx(old.position_mm((3, 0, 0)))


def test_values_that_are_no_whole_numbers_stay_so_and_nobody_needs_a_mask(case):
    half = replace(case, volume=replace(case.volume, voxels=case.volume.voxels + np.float32(0.25)), mask=None)
    assert np.any(halved(half).volume.voxels % 1.0 != 0.25)
    assert thickened(half).mask is None
