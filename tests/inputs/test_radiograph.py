from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.inputs import RadiographInput
from tamperscope.inputs.radiograph import GLANCE, MODALITIES, glance_of

SHAPE = (240, 200)
CHEST = phantom.radiograph(SHAPE)
SPEC = RadiographInput(
    modality="DX",
    body_part="CHEST",
    side=160,
    least_side=96,
    aspect=1.5,
    glance=tuple(float(value) for value in glance_of(CHEST.voxels[0])),
    likeness=0.8,
)


@pytest.mark.parametrize("modality", MODALITIES)
def test_radiographs_of_every_name_are_accepted(modality):
    assert SPEC.refusals(replace(CHEST, modality=modality)) == ()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("CT", lambda v: replace(v, modality="CT"), "trained on radiographs, this is CT"),
        ("colour", lambda v: replace(v, voxels=v.voxels[..., None].repeat(3, axis=3)), "colour"),
        ("another part", lambda v: replace(v, header={"body_part": "HAND"}), "the file states HAND"),
        ("stack", lambda v: replace(v, voxels=v.voxels.repeat(3, axis=0)), "a stack of 3"),
        ("small", lambda v: replace(v, voxels=v.voxels[:, :80]), "80 x 200"),
        ("narrow", lambda v: replace(v, voxels=v.voxels[:, :, :110]), "240 x 110"),
        ("few levels", lambda v: replace(v, voxels=np.floor(v.voxels / 400.0)), "fewer than 32 grey levels"),
        (
            "on its side",
            lambda v: replace(v, voxels=np.rot90(v.voxels, axes=(1, 2))),
            "like a radiograph of a chest",
        ),
        ("negative", lambda v: replace(v, voxels=4095.0 - v.voxels), "does not look like"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_outside_the_contract_is_refused_in_words(name, change, words):
    reasons = SPEC.refusals(change(CHEST))
    assert any(words in reason for reason in reasons), (name, reasons)
    assert all(reason and "\n" not in reason for reason in reasons)


def test_a_negative_that_says_so_is_turned_before_it_is_looked_at():
    assert SPEC.refusals(replace(CHEST, voxels=4095.0 - CHEST.voxels, photometric="MONOCHROME1")) == ()


def test_a_mirrored_picture_is_as_good():
    assert SPEC.refusals(replace(CHEST, voxels=CHEST.voxels[:, :, ::-1])) == ()


@pytest.mark.parametrize("scale", [1.0, 16.0, 0.06])
def test_neither_depth_nor_contrast_changes_what_is_seen(scale):
    lifted = (CHEST.voxels[0] * scale + 100.0).astype(np.float32)
    np.testing.assert_allclose(SPEC.channels(lifted), SPEC.channels(CHEST.voxels[0]), atol=2e-3)
    np.testing.assert_allclose(glance_of(lifted), glance_of(CHEST.voxels[0]), atol=0.03)


@pytest.mark.parametrize("shape", [(96, 96), (160, 160), (200, 170), (1200, 900), (301, 299)])
def test_larger_pictures_are_seen_reduced_and_the_map_covers_them(shape):
    seen = SPEC.channels(np.random.default_rng(0).uniform(0, 4095, shape).astype(np.float32))
    assert min(seen.shape[1:]) == min(160, *shape)
    volume = phantom.radiograph(shape)
    inside = SPEC.inside(volume)
    assert inside.shape == (1, -(-seen.shape[1] // 4), -(-seen.shape[2] // 4))
    down, across = SPEC.strides(shape)
    assert (inside.shape[1] - 1) * down < shape[0] <= inside.shape[1] * down + 1e-6
    assert (inside.shape[2] - 1) * across < shape[1] <= inside.shape[2] * across + 1e-6
    assert SPEC.places(inside, volume) == 1.0


def test_a_map_is_half_what_a_place_shows_and_half_what_the_picture_shows():
    maps = np.zeros((1, 10, 10), np.float32)
    maps[0, 0, :5] = 4.0
    settled = SPEC.settled(maps, CHEST)
    assert settled[0, 0, 0] == pytest.approx(0.5 * (4.0 + 2.0))
    assert settled[0, 9, 9] == pytest.approx(0.5 * 2.0)


def test_a_constant_picture_has_finite_channels():
    seen = SPEC.channels(np.full((100, 100), 7.0, np.float32))
    assert np.isfinite(seen).all()
    assert not seen[1:].any()


def test_a_glance_is_ranks():
    ranks = glance_of(CHEST.voxels[0])
    assert ranks.shape == (GLANCE**2,)
    assert np.array_equal(np.sort(ranks), (np.arange(GLANCE**2) / (GLANCE**2 - 1)).astype(np.float32))


def test_the_contract_in_words():
    assert "radiographs of the chest" in SPEC.facts()["May judge"]
