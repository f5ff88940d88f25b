from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian

from builders import ct, pixels
from tamperscope import phantom
from tamperscope.detectors.provenance import pixels as checks


@pytest.fixture(scope="module")
def chest():
    return phantom.chest((3, 256, 256), (2.5, 1.4, 1.4), np.random.default_rng(0))


def low(array: np.ndarray, stored: int = 12, **values):
    return ct(array, BitsStored=stored, HighBit=stored - 1, **values)


def test_values_beyond_bits_stored(of, said):
    signed, unsigned = pixels(), pixels().view(np.uint16) & 0x0FFF
    assert said(checks.of_file(of(low(signed)))) == []
    assert said(checks.of_file(of(low(unsigned)))) == []
    assert said(checks.of_file(of(ct(signed)))) == [], "all sixteen are stored"
    unsigned = unsigned.copy()
    unsigned[3, 3] = 0x1000
    assert said(checks.of_file(of(low(unsigned)))) == [("bits-stored", "warning", "absent")]
    signed[3, 3] = 2100
    assert said(checks.of_file(of(low(signed)))) == [("bits-stored", "warning", "absent")]
    overlay = low(unsigned)
    overlay.add_new(0x60000102, "US", 15)
    assert said(checks.of_file(of(overlay))) == [], "overlays lay there once"


def test_big_endian_values_are_turned_before_they_are_judged(of, said):
    array = (pixels().view(np.uint16) & 0x0FFF).astype(">u2")
    made = low(array.astype(np.uint16))
    made.PixelData = array.tobytes()
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert said(checks.of_file(of(made))) == []


def test_grey_levels_of_a_scan_are_all_in_use(chest, said):
    assert said(checks.of_volume(chest)) == []


@pytest.mark.parametrize("levels", [64, 256])
def test_a_scan_that_went_through_few_grey_levels(chest, said, levels):
    step = 2000 / (levels - 1)
    voxels = np.rint(np.rint((np.clip(chest.voxels, -1000, 1000) + 1000) / step) * step - 1000).astype(np.float32)
    assert said(checks.of_volume(replace(chest, voxels=voxels))) == [("grey-levels", "warning", "absent")]


def test_eight_bits_are_judged_more_mildly(chest, said):
    grey = np.clip((chest.voxels + 1000) / 8, 0, 255)
    whole = np.rint(grey).astype(np.float32)
    assert said(checks.of_volume(replace(chest, voxels=whole, bits_stored=8, modality="DX"))) == []
    stretched = replace(chest, voxels=np.rint(grey / 3).astype(np.float32) * 3, bits_stored=8, modality="DX")
    assert said(checks.of_volume(stretched)) == [("grey-levels", "note", "absent")]


def test_a_ct_without_air(chest, said):
    raised = replace(chest, voxels=chest.voxels + 1024)
    assert said(checks.of_volume(raised)) == [("rescale", "note", "absent")]
    assert said(checks.of_volume(replace(raised, modality="MR"))) == []


@pytest.mark.parametrize("voxels", [np.zeros((1, 1, 1)), np.full((2, 40, 40), 3.5), np.zeros((0, 4, 4))], ids=str)
def test_small_and_constant_pictures(chest, voxels):
    list(checks.of_volume(replace(chest, voxels=voxels.astype(np.float32), modality="MR")))
