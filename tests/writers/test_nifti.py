from __future__ import annotations

import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from tamperscope.errors import UnsupportedError, UsageError
from tamperscope.writers import nifti

SHAPE = (9, 8, 4)  # x, y, z
AFFINE = np.array([[-0.8, 0, 0, 100.0], [0, 0.9, 0, -50.0], [0, 0, 2.5, 7.0], [0, 0, 0, 1]])


def source(path, dtype="<i2", slope=None, intercept=None, kind=nib.Nifti1Image, values=None):
    """A file whose header says more than its voxels."""
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(dtype) if values is None else values
    image = kind(values, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of the scanner"))
    image.header["intent_name"] = b"kept"
    if slope is not None:
        image.header.set_slope_inter(slope, intercept)
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


KINDS = {
    "int16": {},
    "uint8": {"dtype": "u1"},
    "big endian": {"dtype": ">i2"},
    "scaled": {"slope": 0.1, "intercept": -3.0},
    "scaled below zero": {"slope": -2.0, "intercept": 50.0},
    "float32": {"dtype": "<f4"},
    "float32 scaled": {"dtype": "<f4", "slope": 0.3, "intercept": 1.7},
    "float64": {"dtype": "<f8"},
    "NIfTI-2": {"kind": nib.Nifti2Image},
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_it_comes_back_as_it_was_but_for_what_changed(values, suffix, tmp_path, opened, altered, mark):
    path = source(tmp_path / f"in{suffix}", **values)
    series, volume = opened(path)
    forged = altered(volume, 41.0)
    written = nifti.write(series, volume, forged, tmp_path / "out", "a", mark)
    (file,) = written.files
    assert file.name == f"forged-a{suffix}"
    series, read = opened(file)
    touched = forged.voxels != volume.voxels
    assert read.digest == written.volume.digest
    assert np.array_equal(read.voxels[~touched], volume.voxels[~touched])
    assert np.abs(read.voxels[touched] - 41.0).max() <= abs(values.get("slope", 1)) / 2
    assert np.array_equal(read.affine, volume.affine)
    before, after = nib.load(path), nib.load(file)
    assert after.get_data_dtype() == before.get_data_dtype()
    for field in ("intent_name", "scl_slope", "scl_inter", "pixdim", "sform_code"):
        assert np.array_equal(after.header[field], before.header[field], equal_nan=field.startswith("scl"))
    # The bytes of voxels that nobody touched are those of the source.
    kept = ~touched.transpose(2, 1, 0)
    assert np.array_equal(after.dataobj.get_unscaled()[kept], before.dataobj.get_unscaled()[kept])


def test_a_forgery_says_so_in_two_fields_and_a_twin_in_none(tmp_path, opened, altered, mark):
    path = source(tmp_path / "in.nii")
    series, volume = opened(path)
    (forged,) = nifti.write(series, volume, altered(volume, 5.0), tmp_path, "a", mark).files
    (twin,) = nifti.write(series, volume, volume, tmp_path, "a", None).files
    header = nib.load(forged).header
    assert bytes(header["descrip"]).startswith(b"Synthetic data: YES")
    first, second = (extension.get_content() for extension in header.extensions)
    assert first == b"of the scanner"
    assert mark.text.encode() in second
    assert twin.name == "twin-a.nii"
    assert twin.read_bytes() == path.read_bytes()


def test_it_is_not_written_without_its_mark(tmp_path, opened, altered):
    series, volume = opened(source(tmp_path / "in.nii"))
    with pytest.raises(UsageError, match="mark"):
        nifti.write(series, volume, altered(volume, 5.0), tmp_path / "out", "a", None)
    assert not (tmp_path / "out").exists()


def test_not_a_number_stays_what_it_was(tmp_path, opened, altered, mark):
    values = np.ones(SHAPE, np.float32)
    values[0, 0, 0] = np.nan
    path = source(tmp_path / "in.nii", values=values)
    series, volume = opened(path)
    (file,) = nifti.write(series, volume, altered(volume, 5.0), tmp_path, "a", mark).files
    assert np.isnan(nib.load(file).get_fdata()[0, 0, 0])


def test_a_crop_keeps_its_place(tmp_path, opened, mark):
    series, volume = opened(source(tmp_path / "in.nii.gz"))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.position_mm((1, 2, 3))
    cropped = replace(volume, voxels=volume.voxels[1:3, 2:7, 3:8].copy(), affine=affine)
    (file,) = nifti.write(series, volume, cropped, tmp_path, "a", mark).files
    read = opened(file)[1]
    assert np.array_equal(read.voxels, cropped.voxels)
    assert np.allclose(read.affine, affine)


def test_another_grid_is_refused(tmp_path, opened, mark):
    series, volume = opened(source(tmp_path / "in.nii"))
    with pytest.raises(UnsupportedError, match="grid"):
        nifti.write(series, volume, replace(volume, affine=volume.affine * 1.5), tmp_path / "out", "a", mark)


def test_a_value_beyond_the_type_is_written_as_its_last_and_told(tmp_path, opened, altered, mark):
    series, volume = opened(source(tmp_path / "in.nii", dtype="u1"))
    written = nifti.write(series, volume, altered(volume, 300.0), tmp_path, "a", mark)
    assert written.saturated == 9
    assert opened(written.files[0])[1].voxels[-1, 2, 3] == 255
