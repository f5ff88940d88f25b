from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from tamperscope.errors import UsageError
from tamperscope.report import nifti

OBLIQUE = np.array([[0.1, 0.0, 0.8, -7.0], [0.3, 0.6, 0.0, 5.0], [1.9, -0.8, 0.0, 12.5], [0, 0, 0, 1]])


@pytest.fixture
def heatmap(volume):
    return np.random.default_rng(0).random(volume.shape, dtype=np.float32)


@pytest.mark.parametrize("oblique", [False, True])
def test_it_reads_back_on_the_same_grid(volume, heatmap, oblique, tmp_path):
    volume = replace(volume, affine=OBLIQUE) if oblique else volume
    nifti.write(volume, heatmap, tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(np.asarray(image.dataobj), heatmap.transpose(2, 1, 0))
    assert np.allclose(image.affine, nifti.ras_affine(volume.affine), atol=1e-5)
    for k, j, i in [(0, 0, 0), (2, 10, 7)]:
        x, y, z = volume.position_mm((k, j, i))
        assert np.allclose(image.affine @ [i, j, k, 1], [-x, -y, z, 1], atol=1e-4)


def test_the_same_heat_map_gives_the_same_bytes(volume, heatmap, tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write(volume, heatmap, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    assert first == second
    assert first[4:8] == bytes(4)


@pytest.mark.parametrize(
    ("geometry", "code", "unit"), [("patient", 1, "mm"), ("spacing", 2, "mm"), ("none", 2, "unknown")]
)
def test_it_claims_scanner_coordinates_only_where_they_are_real(volume, heatmap, tmp_path, geometry, code, unit):
    nifti.write(replace(volume, geometry=geometry), heatmap, tmp_path / "a.nii.gz")
    header = nib.load(tmp_path / "a.nii.gz").header
    assert int(header["sform_code"]) == code
    assert header.get_xyzt_units()[0] == unit


def test_another_shape_is_refused(volume, tmp_path):
    with pytest.raises(UsageError, match="does not fit"):
        nifti.write(volume, np.zeros((1, 2, 3), np.float32), tmp_path / "a.nii.gz")
    assert not list(tmp_path.iterdir())
