"""What the viewer shows."""

import gzip
import io
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import tamperscope
from tamperscope import phantom
from tamperscope.service import views
from tamperscope.service.views import Views


def opened(path):
    return nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A phantom with its views, and the volume they are of."""
    folder, rng = tmp_path_factory.mktemp("views"), np.random.default_rng(3)
    phantom.write_dicom(phantom.chest((3, 320, 320), (2.5, 1.0, 1.0), rng), folder / "ct")
    found, seen = Views(folder), []

    def see(volume, result):
        seen.append((volume, result))
        found.see(volume, result)

    tamperscope.scan(folder / "ct", judged=see)
    found.finish()
    return folder, *seen[0]


def test_voxels_lie_where_the_report_says(made):
    folder, volume, result = made
    image = opened(folder / f"{result.name}.volume.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(image.get_fdata().transpose(2, 1, 0), volume.voxels)
    assert np.allclose(image.affine, np.diag([-1.0, -1.0, 2.5, 1.0]))
    heat = opened(folder / f"{result.name}.heatmap.nii.gz").get_fdata().transpose(2, 1, 0)
    assert np.abs(heat - result.heatmap).max() <= 0.5 / 255 + 1e-6


def test_the_residual_shows_noise_and_no_anatomy(made):
    folder, _, result = made
    left = opened(folder / f"{result.name}.residual.nii.gz").get_fdata().transpose(2, 1, 0)
    inside = left[1, 140:180, 60:100]
    assert abs(np.median(left) - 128) <= 3
    assert 5 < inside.std() < 100


def test_a_smooth_place_stands_out_in_the_residual():
    rng = np.random.default_rng(1)
    voxels = rng.normal(0.0, 20.0, (2, 64, 64)).astype(np.float32)
    voxels[1, 20:40, 20:40] = 0.0
    left = views.residual(voxels).astype(float)
    assert left[1, 23:37, 23:37].std() < 1.0
    assert left[0].std() > 20.0


@pytest.mark.parametrize("voxels", [np.zeros((1, 1, 1)), np.full((2, 3, 4), np.nan), np.ones((1, 5, 5)) * 1e30])
def test_odd_pictures_have_views_too(tmp_path, made, voxels):
    _, volume, result = made
    odd = replace(volume, voxels=voxels.astype(np.float32), photometric="MONOCHROME1")
    found = Views(tmp_path)
    found.see(odd, replace(result, shape=odd.shape, heatmap=None, slices=(), regions=()))
    found.finish()
    assert opened(tmp_path / f"{result.name}.volume.nii.gz").shape == odd.shape[::-1]
    (_, low, high), *_ = views.windows(odd, views.shown(odd), 0)
    assert low < high


def test_a_film_that_is_stored_inverted_is_shown_as_it_was_hung(made):
    _, volume, _ = made
    inverted = views.shown(replace(volume, photometric="MONOCHROME1"))
    assert np.array_equal(inverted.argmax(), volume.voxels.argmin())


def test_the_thumbnail_keeps_its_proportions(made):
    folder, _, _ = made
    assert max(Image.open(io.BytesIO((folder / "thumbnail.png").read_bytes())).size) == views.THUMBNAIL
