from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom, pictures
from tamperscope.errors import UsageError
from tamperscope.pictures import PictureSpec, clahe, grey, picture, planes, unit

SPEC = PictureSpec(2, (0.0, 255.0))


def test_ct_goes_through_its_window():
    plane = np.array([[-2000.0, -1000.0], [-300.0, 3000.0]], np.float32)
    made = picture(plane, "CT", PictureSpec(2, (-1000.0, 400.0)))
    assert made.dtype == np.float32
    assert made.shape == (1, 2, 2)
    # -300 lies in the middle of the window: 127.5 is rounded to the even 128.
    np.testing.assert_allclose(made[0], np.array([[0, 0], [128, 255]]) / 255, atol=1e-7)


def test_others_go_between_their_own_percentiles():
    plane = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    low, high = 0.005 * 9999, 0.995 * 9999
    made = grey(plane, "DX", replace(SPEC, side=100))
    assert (made.min(), made.max()) == (0, 255)
    assert made[25, 0] == round((2500 - low) / (high - low) * 255)
    assert (made == 0).sum() >= 50
    assert np.array_equal(made, grey(plane * 7 + 3, "MR", replace(SPEC, side=100)))


def test_resizing_is_bilinear():
    plane = np.array([[0, 0, 100, 100]] * 4, np.float32)
    assert grey(plane, "CT", replace(SPEC, side=4)).tolist() == [[0, 0, 100, 100]] * 4
    # Halved by triangles of two pixels radius: at the left, weights 3, 3 and 1 of seven.
    assert grey(plane, "CT", SPEC).tolist() == [[round(100 / 7), round(600 / 7)]] * 2
    # Doubled: between the pixels.
    assert grey(np.array([[0, 100]], np.float32), "CT", replace(SPEC, side=4))[0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_a_constant_slice_is_a_picture_too(modality):
    made = picture(np.full((5, 9), 7.0, np.float32), modality, PictureSpec(8, clahe=True))
    assert np.isfinite(made).all()
    assert np.ptp(made) == 0.0


def test_what_monochrome1_shows_dark_is_dark():
    film = phantom.radiograph((40, 40))
    (shown,), (inverted,) = planes(film), planes(replace(film, photometric="MONOCHROME1"))
    assert np.array_equal(inverted, -shown)
    spec = PictureSpec(40)
    assert np.abs(255.0 - grey(inverted, "DX", spec) - grey(shown, "DX", spec)).max() <= 1.0


def test_colour_becomes_luminance():
    film = phantom.radiograph((16, 16))
    colour = replace(film, voxels=np.repeat(film.voxels[..., None], 3, axis=-1))
    (one,), (other,) = planes(film), planes(colour)
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_grey_levels_become_unit_values():
    many = unit(np.array([[[0, 51], [102, 255]]], np.uint8))
    assert many.shape == (1, 1, 2, 2)
    np.testing.assert_allclose(many[0, 0], [[0.0, 0.2], [0.4, 1.0]], atol=1e-7)


@pytest.mark.parametrize(("given", "why"), [({"side": 0}, "0 pixels"), ({"window_hu": (400.0, 400.0)}, "400 to 400")])
def test_what_is_no_picture_is_refused(given, why):
    with pytest.raises(UsageError, match=why):
        replace(SPEC, **given)


# --- CLAHE ---


def test_one_region_without_limit_is_plain_equalisation():
    shown = np.array([[10, 10], [10, 200]], np.uint8)
    # Three quarters of the pixels lie at or below 10, all at or below 200.
    assert clahe(shown, tiles=1, limit=256.0).tolist() == [[191, 191], [191, 255]]


def test_the_limit_spreads_what_is_cut_off():
    shown = np.array([[10, 10], [10, 200]], np.uint8)
    # A limit of 32 times the mean of 4 / 256 counts is 0.5: 2.5 + 0.5 counts are cut off and spread over 256 levels.
    ten, high = 0.5 + 11 * 3 / 256, 1.0 + 201 * 3 / 256
    made = clahe(shown, tiles=1, limit=32.0)
    assert made.tolist() == [[round(ten * 255 / 4)] * 2, [round(ten * 255 / 4), round(high * 255 / 4)]]


def test_mappings_are_interpolated_between_the_centres():
    # Two regions a side of two pixels; each region has one grey level, all of it at or below.
    shown = np.repeat(np.repeat(np.array([[0, 0], [255, 255]], np.uint8), 2, axis=0), 2, axis=1)
    made = clahe(shown, tiles=2, limit=256.0)
    # Level 0 maps to 255 in the upper regions, to 0 in the lower ones; a quarter of the way down, 3 : 1.
    assert made[:, 0].tolist() == [255, 191, 255, 255]
    assert (made == made[:, :1]).all()


def test_a_picture_that_no_tile_divides_keeps_its_size_and_gains_contrast():
    (plane,) = phantom.radiograph((61, 61)).voxels
    shown = grey(plane, "DX", PictureSpec(61))
    dull = (shown // 8 + 100).astype(np.uint8)
    made = clahe(dull)
    assert made.shape == dull.shape
    assert made.std() > 1.5 * dull.std()
    assert pictures.clahe(np.full((3, 5), 9, np.uint8)).shape == (3, 5)
