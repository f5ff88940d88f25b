from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks.ct_gan_blend import BOX_MM, CtGanBlend

INJECT, REMOVE = CtGanBlend("inject"), CtGanBlend("remove")


def sides(mask: np.ndarray) -> list[int]:
    """Voxels that the changed box spans along k, j and i."""
    return [int(np.ptp(axis)) + 1 for axis in np.nonzero(mask)]


@pytest.mark.parametrize("seed", range(5))
def test_injection_never_lowers_a_voxel(seed):
    volume = phantom.chest((14, 96, 96), (2.5, 3.0, 3.0))
    forged = INJECT.apply(volume, INJECT.sample(volume, np.random.default_rng(seed))).volume
    assert (forged.voxels >= volume.voxels).all()


def test_injection_leaves_soft_tissue_in_the_lung(lung):
    params = INJECT.sample(lung, np.random.default_rng(0), (24, 24, 24))
    forged = INJECT.apply(lung, params | {"radius_mm": 6.0, "level_hu": 40.0}).volume.voxels
    assert forged[24, 22:27, 22:27].mean() > -200.0


@pytest.mark.parametrize(("spacing_mm", "longest"), [((1.0, 1.0, 1.0), 32), ((2.0, 1.0, 0.8), 40)])
def test_removal_touches_up_1_3_times_the_longest_side_of_the_box_on_all_axes(make, spacing_mm, longest):
    assert longest == round(BOX_MM / min(spacing_mm))
    volume = make(np.rint(np.random.default_rng(1).normal(-850.0, 25.0, (64, 64, 64))), spacing_mm)
    params = REMOVE.sample(volume, np.random.default_rng(0), (32, 32, 32)) | {"grain": "white", "grain_gain": 1.0}
    assert sides(REMOVE.apply(volume, params).mask) == [int(1.3 * longest)] * 3


def test_removal_takes_a_nodule_out_of_the_lung(lung):
    lung.voxels[20:28, 20:28, 20:28] = 40.0
    params = REMOVE.sample(lung, np.random.default_rng(0), (24, 24, 24))
    params |= {"source": [4, 4, 4], "texture_hu": 0.0, "checker_hu": 0.0}
    forged = REMOVE.apply(lung, params).volume.voxels
    assert forged[22:26, 22:26, 22:26].mean() < -600.0


def test_removal_keeps_the_chest_wall(make):
    voxels = np.rint(np.random.default_rng(1).normal(-850.0, 20.0, (40, 40, 40)))
    voxels[:, :, 24:] = 40.0
    wall = make(voxels)
    params = REMOVE.sample(wall, np.random.default_rng(0), (20, 20, 20))
    params |= {"texture_hu": 0.0, "checker_hu": 0.0, "grain": "none"}
    forged = REMOVE.apply(wall, params).volume.voxels
    assert np.abs(forged[:, :, 30:] - 40.0).max() < 5.0


def test_one_slice_is_forged_in_its_plane(make):
    volume = make(np.rint(np.random.default_rng(1).normal(-850.0, 20.0, (1, 64, 64))))
    for attack in (INJECT, REMOVE):
        forgery = attack.apply(volume, attack.sample(volume, np.random.default_rng(0), (0, 32, 32)))
        assert 50 < forgery.mask.sum() <= 41 * 41


def test_the_hole_of_a_removal_is_filled_from_lung_even_where_a_dense_finding_is_its_centre():
    chest = phantom.chest((10, 128, 128), (2.5, 2.8, 2.8))
    chest.voxels[3:8, 60:66, 36:42] = 40.0
    for seed in range(8):
        source = REMOVE.sample(chest, np.random.default_rng(seed), (5, 63, 39))["source"]
        assert chest.voxels[tuple(source)] < -700.0
