from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tamperscope.errors import UnsupportedError, UsageError
from tamperscope.writers import pictures

GREY = np.random.default_rng(0).integers(0, 200, (9, 11))


def source(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


KINDS = {
    "PNG 8 bits": ("a.png", GREY.astype(np.uint8), ".png"),
    "PNG 16 bits": ("a.png", (GREY * 300).astype(np.uint16), ".png"),
    "PNG 1 bit": ("a.png", GREY > 100, ".png"),
    "TIFF 16 bits": ("a.tif", (GREY * 300).astype(np.uint16), ".tif"),
    "TIFF float": ("a.tif", (GREY / 7).astype(np.float32), ".tif"),
    "TIFF 32 bits": ("a.tif", (GREY * 300).astype(np.int32), ".tif"),
    "JPEG": ("a.jpg", GREY.astype(np.uint8), ".png"),
}


@pytest.mark.parametrize(("name", "array", "suffix"), KINDS.values(), ids=KINDS.keys())
def test_it_comes_back_with_its_bits(name, array, suffix, tmp_path, opened, altered, mark):
    series, volume = opened(source(tmp_path / name, array))
    forged = altered(volume, float(volume.voxels.max()))
    written = pictures.write(series, volume, forged, tmp_path / "out", "a", mark)
    (file,) = written.files
    assert file.name == f"forged-a{suffix}"
    _, read = opened(file)
    assert np.array_equal(read.voxels, forged.voxels)
    assert read.digest == written.volume.digest
    assert read.bits_stored == volume.bits_stored


def test_all_pages_of_a_tiff_come_back(tmp_path, opened, altered, mark):
    pages = [Image.fromarray((GREY + k).astype(np.uint16)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    series, volume = opened(tmp_path / "a.tif")
    forged = altered(volume, 7.0)
    (file,) = pictures.write(series, volume, forged, tmp_path / "out", "a", mark).files
    assert np.array_equal(opened(file)[1].voxels, forged.voxels)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_forgery_says_so_in_a_text_field_and_a_twin_does_not(name, tmp_path, opened, altered, mark):
    series, volume = opened(source(tmp_path / name, GREY.astype(np.uint16)))
    (forged,) = pictures.write(series, volume, altered(volume, 7.0), tmp_path / "out", "a", mark).files
    (twin,) = pictures.write(series, volume, volume, tmp_path / "out", "a", None).files
    image = Image.open(io.BytesIO(forged.read_bytes()))
    said = image.text["Warning"] if name == "a.png" else image.tag_v2[270]
    assert said == mark.text
    assert twin.name.startswith("twin-")
    assert b"ynthetic" not in twin.read_bytes()


def test_it_is_not_written_without_its_mark(tmp_path, opened, altered):
    series, volume = opened(source(tmp_path / "a.png", GREY.astype(np.uint8)))
    with pytest.raises(UsageError, match="mark"):
        pictures.write(series, volume, altered(volume, 7.0), tmp_path / "out", "a", None)


def test_colour_is_refused(tmp_path, opened, mark):
    series, volume = opened(source(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(UnsupportedError, match="colour"):
        pictures.write(series, volume, volume, tmp_path / "out", "a", mark)


def test_a_crop_is_smaller(tmp_path, opened, mark):
    series, volume = opened(source(tmp_path / "a.png", GREY.astype(np.uint8)))
    affine = volume.affine.copy()
    affine[:3, 3] = (0, 2, 3)
    cropped = replace(volume, voxels=volume.voxels[:, 2:6, 3:9].copy(), affine=affine)
    (file,) = pictures.write(series, volume, cropped, tmp_path / "out", "a", mark).files
    assert np.array_equal(opened(file)[1].voxels, cropped.voxels)
