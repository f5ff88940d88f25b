from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom, preprocess
from tamperscope.attacks.marker import Marker

TEXT = {"words": "R", "height_px": 14, "degrees": 0.0, "mirror": False, "soft_px": 0.4, "level": 4000.0}


@pytest.fixture(scope="module")
def film():
    return phantom.radiograph((256, 256), np.random.default_rng(2))


@pytest.fixture(scope="module")
def marked(film):
    params = {"centre": [0, 230, 30], "erase_px": None, "grain_gain": 1.0, "seed": 3} | TEXT
    return Marker("draw").apply(film, params).volume


def test_text_is_drawn_where_it_was_asked_for_and_as_bright_as_told(film, marked):
    changed = np.argwhere(marked.voxels != film.voxels)
    np.testing.assert_allclose((changed.min(axis=0) + changed.max(axis=0)) / 2, [0, 230, 30], atol=3.0)
    assert 3500.0 < marked.voxels[0, 220:240, 20:40].max() <= 4000.0


@pytest.mark.parametrize("mode", ["erase", "replace"])
@pytest.mark.parametrize("at", [None, (0, 230, 27)])
def test_a_marker_is_found_and_goes(film, marked, mode, at):
    params = Marker(mode).sample(marked, np.random.default_rng(1), at)
    _, row, column = params["centre"]
    assert abs(row - 230) < 6
    assert abs(column - 30) < 6
    erased = Marker("erase").apply(marked, params | {"words": ""}).volume.voxels
    assert np.abs(erased - film.voxels)[0, 215:245, 15:45].max() < 400.0
    after = Marker(mode).apply(marked, params).volume.voxels
    assert (after[0, 215:245, 15:45].max() > 3000.0) == (mode == "replace")


def test_what_is_erased_is_as_noisy_as_what_lies_round_it(film, marked):
    params = {"centre": [0, 230, 30], "erase_px": [20, 20], "grain_gain": 1.0, "seed": 3}
    erased = Marker("erase").apply(marked, params).volume.voxels[0]
    inside, outside = (
        preprocess.noise_level(part) for part in (erased[222:238, 22:38], film.voxels[0, 222:238, 60:90])
    )
    assert inside == pytest.approx(outside, rel=0.5)


def test_mirrored_text_reads_the_other_way(film):
    params = {"centre": [0, 128, 128], "erase_px": None, "grain_gain": 1.0, "seed": 3} | TEXT | {"words": "L"}
    plain, mirrored = (
        Marker("draw").apply(film, params | {"mirror": mirror}).mask[0, :, 118:139] for mirror in (False, True)
    )
    assert np.flatnonzero(plain.sum(axis=0) == plain.sum(axis=0).max())[0] < 8
    assert np.flatnonzero(mirrored.sum(axis=0) == mirrored.sum(axis=0).max())[0] > 8


def test_in_monochrome1_lead_is_dark(film):
    dark = replace(film, voxels=4095.0 - film.voxels, photometric="MONOCHROME1")
    levels = [Marker("draw").sample(dark, np.random.default_rng(seed))["level"] for seed in range(5)]
    assert max(levels) < np.percentile(dark.voxels, 15)


def test_one_slice_of_a_stack_is_edited(make):
    stack = make(np.random.default_rng(1).normal(0.0, 9.0, (5, 64, 64)))
    for mode in ("erase", "draw", "replace"):
        forgery = Marker(mode).apply(stack, Marker(mode).sample(stack, np.random.default_rng(0), (3, 20, 20)))
        assert np.flatnonzero(forgery.mask.any(axis=(1, 2))).tolist() == [3]


def test_without_a_marker_the_place_is_near_a_corner(film):
    for seed in range(6):
        _, row, column = Marker("erase").sample(film, np.random.default_rng(seed))["centre"]
        assert min(row, 255 - row) < 40
        assert min(column, 255 - column) < 40
