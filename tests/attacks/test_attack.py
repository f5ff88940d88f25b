from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamperscope.attacks.attack import finish
from tamperscope.records import voxel_digest


def test_whole_numbers_stay_whole_and_the_mask_is_what_changed(lung):
    voxels = lung.voxels.copy()
    voxels[3, 4, 5] += 7.4
    voxels[3, 4, 6] += 0.3
    forgery = finish(lung, voxels, "x", {}, benign=False)
    assert np.argwhere(forgery.mask).tolist() == [[3, 4, 5]]
    assert forgery.volume.voxels[3, 4, 5] == lung.voxels[3, 4, 5] + 7


def test_fractions_stay_fractions(lung):
    fractions = replace(lung, voxels=lung.voxels / 3)
    forged = finish(fractions, fractions.voxels + np.float32(0.25), "x", {}, benign=False)
    assert np.array_equal(forged.volume.voxels, fractions.voxels + np.float32(0.25))
    assert forged.mask.all()


def test_values_stay_in_the_range_that_the_file_can_hold(lung):
    voxels = lung.voxels.copy()
    voxels[0, 0, 0], voxels[0, 0, 1] = 9000.0, -9000.0
    forged = finish(lung, voxels, "x", {}, benign=False).volume.voxels
    assert forged[0, 0, 0] == 3071.0
    assert forged[0, 0, 1] == lung.voxels.min()


def test_a_metal_implant_above_the_ceiling_is_left_alone(make):
    metal = make(np.full((1, 8, 8), 12000.0))
    assert not finish(metal, metal.voxels, "x", {}, benign=False).mask.any()


def test_the_digest_tells_shapes_and_values_apart():
    voxels = np.zeros((2, 3, 4), np.float32)
    assert voxel_digest(voxels) == voxel_digest(voxels.copy())
    assert voxel_digest(voxels) != voxel_digest(voxels.reshape(4, 3, 2))
    assert voxel_digest(voxels) != voxel_digest(voxels + 1)
