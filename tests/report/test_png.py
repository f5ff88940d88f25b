from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tamperscope import phantom
from tamperscope.records import OperatingPoint, Provenance, Region, SliceScore
from tamperscope.report import blocks, picture, png

SHAPES = [(1, 1, 1), (1, 64, 64), (3, 64, 48), (300, 8, 8), (2, 300, 4), (2, 4, 300), (1, 1200, 900)]


def hot(shape):
    """A heat map with one warm place, and a region to match."""
    heat = np.zeros(shape, np.float32)
    depth, height, width = shape
    k, j, i = depth // 2, height // 3, width // 3
    heat[k, j : j + height // 4 + 1, i : i + width // 4 + 1] = 0.9
    corner = (k, min(j + height // 4, height - 1), min(i + width // 4, width - 1))
    return heat, Region((k, j, i), None, ((k, j, i), corner), None, 0.9)


def colours_of(image: Image.Image) -> set[tuple[int, int, int]]:
    return {tuple(c) for c in np.unique(np.asarray(image).reshape(-1, 3), axis=0).tolist()}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("verdict", ["suspicious", "no_evidence", "inconclusive"])
def test_every_shape_and_verdict_gives_a_picture(make, shape, verdict):
    volume = phantom.chest(shape, (2.5, 0.7, 0.7))
    heat, region = hot(shape)
    scores = tuple(SliceScore(k, "", None, k / shape[0]) for k in range(shape[0]))
    regions = (region,) if verdict == "suspicious" else ()
    result = make[verdict](shape=shape, heatmap=heat, regions=regions, slices=scores)
    image = Image.open(io.BytesIO(png.render(volume, result)))
    image.load()
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert 700 < image.width < 2600
    assert 400 < image.height < 2600


def test_only_a_suspicious_series_is_marked(make, volume):
    heat, region = hot(volume.shape)
    box = (90, 220, 255)
    marked = png.draw(volume, make["suspicious"](heatmap=heat, regions=(region,), slices=()))
    plain = png.draw(volume, make["no_evidence"](heatmap=heat, slices=()))
    assert box in colours_of(marked)
    assert box not in colours_of(plain)


def test_the_input_is_not_changed(make, volume):
    heat, region = hot(volume.shape)
    before = volume.voxels.copy(), heat.copy()
    png.draw(volume, make["suspicious"](heatmap=heat, regions=(region,)))
    assert np.array_equal(volume.voxels, before[0])
    assert np.array_equal(heat, before[1])


def test_the_strongest_slice_is_shown(make, volume):
    scores = tuple(SliceScore(k, "", None, s) for k, s in enumerate((0.1, float("nan"), 0.4)))
    assert picture.shown_slice(volume, make["no_evidence"](slices=scores)) == 2
    assert picture.shown_slice(volume, make["no_evidence"](slices=())) == 1
    assert picture.shown_slice(volume, make["suspicious"](slices=())) == 2
    heat = np.zeros(volume.shape, np.float32)
    heat[0, 3, 3] = 1
    assert picture.shown_slice(volume, make["no_evidence"](slices=(), heatmap=heat)) == 0


def test_missing_parts_do_not_matter(make, volume):
    for changes in (
        {"heatmap": None, "regions": ()},
        {"heatmap": None},
        {"operating_point": None, "slices": ()},
        {"operating_point": OperatingPoint(0.0, 2.0)},
        {"heatmap": np.full(volume.shape, np.nan, np.float32)},
        {"spacing_mm": None},
    ):
        png.draw(volume, make["suspicious"](**changes))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1e30])
@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_strange_voxels_do_not_matter(make, volume, value, modality):
    strange = replace(volume, voxels=np.full(volume.shape, value, np.float32), modality=modality)
    png.draw(strange, make["no_evidence"]())


def test_ct_is_shown_in_the_lung_window(volume):
    flat = replace(volume, voxels=np.full((1, 2, 2), -600, np.float32))
    assert picture.grey(flat, 0).getpixel((0, 0)) == (128, 128, 128)


def test_monochrome1_is_inverted_and_padding_does_not_set_the_window():
    ramp = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    ramp[0, 0, :5] = -5000
    volume = replace(phantom.radiograph((10, 10)), voxels=ramp, padding=-5000.0)
    upright = np.asarray(picture.grey(volume, 0))
    inverted = np.asarray(picture.grey(replace(volume, photometric="MONOCHROME1"), 0))
    assert np.array_equal(upright, 255 - inverted)
    assert int(upright[5, 5, 0]) == pytest.approx(128, abs=20)


def test_colour_is_shown_as_stored():
    voxels = np.zeros((1, 4, 4, 3), np.float32)
    voxels[..., 0], voxels[..., 1] = 200, 10
    volume = replace(phantom.radiograph((4, 4)), voxels=voxels, modality="OT", bits_stored=8)
    assert picture.grey(volume, 0).getpixel((1, 1)) == (200, 10, 0)


def test_pixels_keep_their_physical_aspect(volume):
    wide = replace(volume, affine=np.diag([1.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]])
    assert wide.spacing_mm == (1.0, 2.0, 1.0)
    width, height = picture.fitted(picture.physical_size(wide, 100, 100))
    assert (width, height) == (256, 512)
    assert picture.fitted((2000, 2500)) == (819, 1024)
    assert picture.fitted((5000, 1)) == (1024, 1)


def test_the_colour_map_gets_lighter_step_by_step():
    rgb = picture.colours(np.linspace(0, 1, 50, dtype=np.float32)).astype(float)
    luma = rgb @ [0.299, 0.587, 0.114]
    assert np.all(np.diff(luma) > 0)


def test_faint_probabilities_leave_the_anatomy_alone():
    slice_ = Image.new("RGB", (20, 20), (90, 90, 90))
    heat = np.full((20, 20), 0.15, np.float32)
    assert colours_of(picture.overlaid(slice_, heat, 0.6)) == {(90, 90, 90)}


@pytest.mark.parametrize("content", ["", "word " * 900, "x" * 100_000, "日本 – é \x00\ud800 ×"])
@pytest.mark.parametrize("width", [40, 700])
def test_text_fits_its_block(content, width):
    image = blocks.text(content, 20, (255, 255, 255), width)
    assert image.width == width
    assert image.height <= blocks.LINES * 26 + 2


def test_a_broken_signature_is_drawn_in_the_colour_of_alarm(make, volume):
    quiet = make["no_evidence"](slices=())
    broken = replace(quiet, provenance=Provenance("broken"))
    alarm = png.VERDICT_COLOURS["suspicious"]
    assert alarm in colours_of(png.draw(volume, broken))
    assert alarm not in colours_of(png.draw(volume, quiet))
    assert png.draw(volume, broken).height > png.draw(volume, quiet).height
