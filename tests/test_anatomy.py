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
