from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import knees
from tamperscope.errors import AttackError
from tamperscope.records import Volume

FILM = replace(phantom.radiograph((64, 56), np.random.default_rng(4)), header={"body_part": "KNEE"})


def eight_bits(plane: np.ndarray, **facts) -> Volume:
    return Volume(plane.astype(np.float32)[None], np.eye(4), "OT", format="picture", bits_stored=8, **facts)


RAMP = eight_bits(np.add.outer(np.arange(50.0), 3.0 * np.arange(60.0)))


@pytest.mark.parametrize("header", [{}, {"body_part": None}, {"body_part": "KNEE"}, {"body_part": "lower extremity"}])
def test_a_radiograph_of_a_knee_is_taken(header):
    knees.check(replace(FILM, header=header), "an attack")
    knees.check(RAMP, "an attack")


@pytest.mark.parametrize(
    ("volume", "message", "way_out"),
    [
        (phantom.chest((1, 64, 64)), "this is CT", "radiograph of a knee"),
        (replace(FILM, modality="MG"), "this is MG", "radiograph of a knee"),
        (replace(FILM, header={"body_part": "CHEST"}), "states CHEST", "radiograph of a knee"),
        (replace(FILM, voxels=np.repeat(FILM.voxels, 3, axis=0)), "stack of 3", "one picture"),
        (replace(FILM, voxels=FILM.voxels[:, :47]), "has 47 x 56", "full size"),
        (replace(FILM, voxels=np.full((1, 64, 64), 7.0, np.float32)), "only the value 7", "something"),
        (replace(FILM, voxels=np.zeros((1, 64, 64, 3), np.float32)), "colour", "as grey"),
    ],
)
def test_what_is_none_is_refused(volume, message, way_out):
    with pytest.raises(AttackError, match=message) as caught:
        knees.check(volume, "an attack")
    assert "an attack" in caught.value.message
    assert way_out in caught.value.hint


def test_eight_bits_are_taken_as_in_training():
    assert knees.levels(RAMP) == (0.0, 255.0)


def test_other_depths_are_brought_to_the_percentiles_of_training():
    black, white = knees.levels(FILM)
    seen = 2.0 * (FILM.voxels - black) / (white - black) - 1.0
    assert np.percentile(seen, (1.0, 99.0)) == pytest.approx([knees.DARK, knees.BRIGHT])


def test_a_picture_nearly_of_one_value_still_has_levels():
    voxels = np.full((1, 100, 100), 7.0, np.float32)
    voxels[0, 0, 0] = 9.0
    black, white = knees.levels(replace(FILM, voxels=voxels))
    assert black < 7.0 < 9.0 < white


def test_bone_is_bright_also_where_low_values_are_white():
    negative = replace(RAMP, photometric="MONOCHROME1")
    assert knees.levels(negative) == (255.0, 0.0)
    rising = np.linspace(-1.0, 1.0, 224, dtype=np.float32)[None, :].repeat(224, axis=0)
    upright, inverse = (knees.fitted(rising, one, "bilinear", mirror=False)[0] for one in (RAMP, negative))
    assert (np.diff(upright, axis=1) >= 0).all()
    assert (np.diff(inverse, axis=1) <= 0).all()


@pytest.mark.parametrize("interpolation", sorted(knees.INTERPOLATIONS))
@pytest.mark.parametrize("shape", [(224, 224), (300, 224), (48, 96), (513, 401)])
def test_a_generated_picture_covers_any_shape_without_being_stretched(interpolation, shape):
    rows, columns = np.meshgrid(np.linspace(-0.9, 0.9, 224), np.linspace(-0.9, 0.9, 224), indexing="ij")
    volume = eight_bits(np.linspace(0.0, 255.0, shape[0] * shape[1]).reshape(shape))
    made = knees.fitted((0.5 * (rows + columns)).astype(np.float32), volume, interpolation, mirror=False)
    assert made.shape == (1, *shape)
    assert made.dtype == np.float32
    inner = made[0][4:-4, 4:-4]
    assert np.diff(inner, axis=0).mean() == pytest.approx(np.diff(inner, axis=1).mean(), rel=0.02)
    middle = made[0][shape[0] // 2 - 1 : shape[0] // 2 + 1, shape[1] // 2 - 1 : shape[1] // 2 + 1]
    assert middle.mean() == pytest.approx(127.5, abs=0.8)


def test_it_stays_in_the_range_of_the_picture():
    made = knees.fitted(
        np.linspace(-1.5, 1.5, 224 * 224, dtype=np.float32).reshape(224, 224), RAMP, "bicubic", mirror=True
    )
    assert made.min() == RAMP.voxels.min()
    assert made.max() == RAMP.voxels.max()


def test_a_mirrored_picture_is_the_other_knee():
    picture = np.random.default_rng(0).uniform(-0.5, 0.5, (224, 224)).astype(np.float32)
    volume = eight_bits(np.linspace(0.0, 255.0, 224 * 224).reshape(224, 224))
    one, other = (knees.fitted(picture, volume, "bicubic", mirror=mirror) for mirror in (False, True))
    assert np.array_equal(one[:, :, ::-1], other)
    assert one[0] == pytest.approx(127.5 * (picture + 1.0), abs=1e-3), "a picture that fits is not interpolated"


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(AttackError, match="'cubic'") as caught:
        knees.resized(np.zeros((4, 4), np.float32), (8, 8), "cubic")
    assert "bicubic" in caught.value.hint
