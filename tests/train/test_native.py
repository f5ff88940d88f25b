from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import natives
from tamperscope.datasets.manifest import Entry
from tamperscope.train import native
from tamperscope.train.native import Spec
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE

SPEC = Spec(natives.WINDOW, 4)


def test_short_series_are_kept_whole_and_long_ones_round_their_forgery_and_beside():
    assert native.choose(3, (), SPEC) == [0, 1, 2]
    found = native.choose(100, {60}, Spec(natives.WINDOW, 8))
    assert len(found) == 8
    assert {58, 59, 60, 61} <= set(found)
    assert {0, 99} <= set(found)
    assert native.choose(100, {60}, Spec(natives.WINDOW, 5, spread=0.0)) == [58, 59, 60, 61, 62]
    assert native.choose(100, (), Spec(natives.WINDOW, 3, spread=0.0)) == [0, 50, 99]
    assert native.choose(9, {2, 7}, Spec(natives.WINDOW, 2, spread=0.0)) == [2, 7]


def test_a_series_keeps_values_places_and_what_was_changed():
    case = natives.case(3, forged=True, depth=2)
    made = native.kept(case, SPEC)
    assert (made.forged, made.modality, len(made.planes)) == (True, "CT", 2)
    plane = made.planes[1]
    assert plane.key == ("3", 1, (96, 96))
    assert plane.label == FORGED
    expected = (np.clip(case.volume.voxels[1], -1000, 400) + 1000) / 1400
    assert np.abs(plane.values / native.LEVELS - expected).max() < 1e-5
    assert plane.changed.shape == (natives.EDIT, natives.EDIT)
    assert plane.changed.all()
    top, left = plane.corner
    assert case.mask[1, top, left]
    assert not case.mask[1, top - 1, left]


def test_where_masks_are_not_to_be_known_nothing_of_them_is_kept():
    case = natives.case(3, forged=True, depth=12)
    blind = Spec(natives.WINDOW, 4, masks=False)
    made = native.kept(case, blind)
    assert [plane.label for plane in made.planes] == [UNSURE] * 4
    assert all(plane.changed.size == 0 for plane in made.planes)
    without = native.kept(replace(case, mask=None), blind)
    assert [plane.key for plane in without.planes] == [plane.key for plane in made.planes]
    assert [plane.label for plane in native.kept(natives.case(3, forged=False), blind).planes] == [AUTHENTIC]


def test_twins_keep_the_slices_in_which_forgeries_of_the_patient_are_stated(tmp_path):
    def entry(patient: str, label: str, places: tuple) -> Entry:
        return Entry(tmp_path / "a", "c", patient, label, "", label=label, places=places)

    groups = [(entry("a", "forged", ((30, 1, 2), (31, 5, 5))),), (entry("a", "authentic", ()),)]
    known = native.stated([*groups, (entry("b", "forged", ((4, 4),)),)])
    assert known["a"] == {30, 31}
    assert known["b"] == known["c"] == set()
    twin = replace(natives.case(1, forged=False, depth=40), patient="a")
    numbers = [plane.key[1] for plane in native.kept(twin, Spec(natives.WINDOW, 4, spread=0.0), known["a"]).planes]
    assert numbers == [29, 30, 31, 32]


@pytest.mark.parametrize("centre", [(48, 48), (0, 0), (95, 95), (-9, 120), (20, 70)])
def test_a_crop_is_what_lies_there(centre):
    case = natives.case(4, forged=True)
    plane = native.kept(case, SPEC).planes[0]
    for side in (16, 64, 96):
        values, changed = native.crop(plane, centre, side)
        top, left = (min(max(0, at - side // 2), 96 - side) for at in centre)
        assert np.array_equal(changed, case.mask[0, top : top + side, left : left + side])
        expected = plane.values[top : top + side, left : left + side] / native.LEVELS
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_a_crop_of_a_smaller_slice_repeats_its_border():
    plane = native.kept(natives.case(4, forged=True), SPEC).planes[0]
    values, changed = native.crop(plane, (10, 10), 128)
    assert values.shape == changed.shape == (128, 128)
    assert np.array_equal(values[96], values[95])
    assert changed.sum() == natives.EDIT**2


def test_places_are_drawn_where_they_belong():
    case, rng = natives.case(5, forged=True), np.random.default_rng(0)
    plane = native.kept(case, SPEC).planes[0]
    assert all(case.mask[0][native.altered(plane, rng)] for _ in range(50))
    found = [native.anywhere(plane, rng) for _ in range(200)]
    assert all(case.volume.voxels[0][place] > -500 for place in found)
    assert len(set(found)) > 50


def test_turning_moves_picture_and_mask_alike_and_changes_no_value():
    picture = np.arange(16.0).reshape(1, 4, 4)
    seen = set()
    for seed in range(60):
        one, other = native.turned((picture, picture + 100), np.random.default_rng(seed))
        assert np.array_equal(one + 100, other)
        assert sorted(one.ravel()) == sorted(picture.ravel())
        seen.add(one.tobytes())
    assert len(seen) == 8


def test_a_part_says_what_it_holds():
    part = natives.part(0, 2, depth=2)
    assert part.counts == {
        "authentic_series": 2,
        "forged_series": 2,
        "authentic_slices": 4,
        "forged_slices": 4,
        "left_out_slices": 0,
    }
    assert part.modalities == ("CT",)
    assert part.nbytes >= 8 * 2 * natives.SIDE**2
