from __future__ import annotations

import numpy as np
import pytest

from tamperscope import anatomy, phantom


@pytest.fixture(scope="module")
def chest():
    return phantom.chest((5, 192, 192), (2.5, 1.9, 1.9)).voxels


def test_the_body_is_everything_inside_the_skin(chest):
    body = anatomy.body(chest)
    assert body.shape == chest.shape
    assert body.dtype == bool
    assert 0.3 < body.mean() < 0.7
    assert body[2, 96, 60:130].all(), "lung and heart alike"
    assert not body[:, :12, :12].any(), "the air round the patient"


def test_the_table_is_no_part_of_the_body(chest):
    below = chest.copy()
    below[:, 176:182] = -1000.0
    below[:, 184:188, 30:160] = 200.0
    assert not anatomy.body(below)[:, 183:].any()


def test_lungs_lie_inside_the_body_and_hold_air(chest):
    lungs = anatomy.lungs(chest)
    assert not (lungs & ~anatomy.body(chest)).any()
    assert 0.15 < lungs.sum() / anatomy.body(chest).sum() < 0.6
    assert np.median(chest[lungs]) < -700.0


def test_both_sides_have_a_lung(chest):
    share = anatomy.lungs(chest)[2].mean(axis=0)
    assert share[40:80].max() > 0.2
    assert share[112:152].max() > 0.2


def test_bones_are_the_dense_parts_and_the_marrow_inside_them(chest):
    bones = anatomy.bones(chest)
    assert not (bones & ~anatomy.body(chest)).any()
    assert 0.01 < bones.sum() / anatomy.body(chest).sum() < 0.15
    assert bones[chest > 500.0].mean() > 0.95
    assert (chest[bones] > 100.0).mean() > 0.8
    spine = np.s_[2, 115:135, 90:103]
    assert bones[spine].mean() > 0.9, "cortex, marrow and canal of a vertebra"
    heart = np.s_[2, 80:95, 100:115]
    assert not bones[heart].any()


@pytest.mark.parametrize(("core", "found"), [(200.0, False), (350.0, True)])
def test_only_what_reaches_the_density_of_cortex_is_bone(core, found):
    voxels = np.full((1, 64, 64), 40.0, np.float32)
    voxels[0, 20:40, 20:40] = 200.0
    voxels[0, 25:35, 25:35] = core
    assert anatomy.bones(voxels).any() == found
    if found:
        assert anatomy.bones(voxels)[0, 21:39, 21:39].all()


def test_a_ring_of_bone_round_the_chest_does_not_make_bone_of_the_chest():
    j, i = np.mgrid[-48:48, -48:48]
    radius = np.hypot(j, i)
    voxels = np.where(radius > 46, -1000.0, np.where(radius > 40, 700.0, np.where(radius < 30, -850.0, 40.0)))
    bones = anatomy.bones(voxels[None].astype(np.float32))[0]
    assert bones[np.abs(radius - 43) < 1].mean() > 0.9
    assert not bones[radius < 38].any()


@pytest.mark.parametrize("dark", [0.0, 300.0])
def test_a_limb_is_told_from_the_air_beside_it(dark):
    rng = np.random.default_rng(2)
    picture = rng.normal(dark, 20.0, (1, 128, 96))
    picture[:, :, 24:72] += 900.0
    picture[:, :, 36:60] += 1500.0
    tissue = anatomy.tissue(picture.astype(np.float32))[0]
    assert tissue[:, 28:68].all(), "soft tissue and bone alike"
    assert not tissue[:, :20].any()
    assert not tissue[:, 76:].any()


def test_the_lungs_of_a_chest_film_are_inside_the_tissue():
    film = phantom.radiograph((256, 256)).voxels
    tissue = anatomy.tissue(film)[0]
    assert tissue[60:190, 40:216].mean() > 0.98


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 33, 31)])
def test_a_constant_picture_holds_no_tissue_and_no_bone(shape):
    flat = np.full(shape, 40.0, np.float32)
    assert not anatomy.tissue(flat).any()
    assert not anatomy.bones(flat).any()
    assert anatomy.bones(flat).shape == anatomy.tissue(flat).shape == shape


@pytest.mark.parametrize("level", [-1000.0, 0.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 33, 31)])
def test_constant_and_tiny_volumes_have_no_lung(shape, level):
    voxels = np.full(shape, level, np.float32)
    assert anatomy.body(voxels).shape == shape
    assert not anatomy.lungs(voxels).any()
    if level < anatomy.TISSUE_HU:
        assert not anatomy.body(voxels).any()


def test_a_block_of_tissue_is_all_body_to_a_few_pixels():
    voxels = np.full((1, 96, 96), -1000.0, np.float32)
    voxels[:, 20:76, 24:72] = 40.0
    body = anatomy.body(voxels)[0]
    assert body[24:72, 28:68].all()
    assert body.sum() == pytest.approx(56 * 48, rel=0.15)


# --- findings ---


def lung_with(*balls: tuple[tuple[int, int, int], float], shape=(20, 160, 160)) -> np.ndarray:
    """A body of soft tissue with one lung in it, and dense balls (centre, diameter in mm) on a grid of 1 mm."""
    voxels = np.full(shape, -1000.0, dtype=np.float32)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    around = np.hypot(j - 80, i - 80) + 0 * k
    voxels[around < 72] = 40.0
    voxels[around < 56] = -860.0
    for centre, diameter in balls:
        distance = sum((axis - c) ** 2 for axis, c in zip((k, j, i), centre, strict=True)) ** 0.5
        voxels[distance < diameter / 2] = 40.0
    return voxels


def test_what_ends_in_the_lung_is_found_with_its_middle_and_diameter():
    found = anatomy.findings(lung_with(((9, 70, 90), 12.0), ((12, 100, 60), 7.0)), (1.0, 1.0, 1.0))
    assert len(found) == 2
    for (centre, diameter), (near, size) in zip(found, (((9, 70, 90), 12.0), ((12, 100, 60), 7.0)), strict=True):
        assert np.abs(np.subtract(centre, near)).max() <= 3
        assert diameter == pytest.approx(size, rel=0.25)


def test_what_touches_the_wall_is_too_small_or_too_large_is_no_finding():
    for ball in (((9, 80, 130), 14.0), ((9, 80, 80), 2.0), ((9, 80, 80), 38.0)):
        assert anatomy.findings(lung_with(ball), (1.0, 1.0, 1.0)) == []
    assert anatomy.findings(np.full((3, 40, 40), -1000.0, np.float32), (1.0, 1.0, 1.0)) == []


def test_in_a_single_slice_the_diameter_is_that_of_the_disc():
    plane = lung_with(((9, 70, 90), 12.0))[9:10]
    ((centre, diameter),) = anatomy.findings(plane, (1.0, 1.0, 1.0))
    assert centre[0] == 0
    assert diameter == pytest.approx(12.0, rel=0.25)
