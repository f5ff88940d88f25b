from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tamperscope import phantom
from tamperscope.formats import pictures
from tamperscope.writers import comparison


def pair(shape, box, *, spacing=(2.5, 0.9, 0.9), step=300.0, **changes):
    """A volume, the same with ``step`` more in a box of its middle slice, and the mask."""
    like = phantom.chest((1, 8, 8), spacing)
    voxels = np.random.default_rng(0).normal(-700, 30, shape).astype(np.float32)
    before = replace(like, voxels=voxels, **changes)
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2][box] = True
    return before, replace(before, voxels=before.voxels + step * mask.astype(np.float32)), mask


SMALL = np.s_[10:14, 20:26]
SHAPES = [(1, 1, 1), (1, 64, 64), (3, 64, 48), (2, 300, 4), (2, 4, 300), (1, 1200, 900)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_gives_a_picture_of_a_size_to_look_at(shape):
    before, after, mask = pair(shape, np.s_[: shape[1] // 3 + 1, : shape[2] // 3 + 1])
    image = comparison.draw(before, after, mask, "Forgery: nodule")
    assert image.mode == "RGB"
    assert 300 < image.width < 2000
    assert 200 < image.height < 1600


def test_the_place_is_boxed_and_enlarged_and_a_change_of_the_whole_slice_is_not():
    before, after, mask = pair((3, 64, 64), SMALL)
    local = comparison.draw(before, after, mask, "Forgery: nodule")
    whole = comparison.draw(before, after, np.zeros_like(mask), "Benign change: denoise")

    def has_box(image):
        return bool((np.asarray(image) == comparison.BOX).all(axis=-1).any())

    assert has_box(local)
    assert not has_box(whole)
    assert local.height > whole.height + 300


def test_the_slice_that_changed_most_is_shown():
    before, after, _ = pair((5, 32, 32), SMALL)
    voxels = after.voxels.copy()
    voxels[4, 10:20, 10:20] -= 900
    assert comparison.shown_slice(before, after) == 2
    assert comparison.shown_slice(before, replace(after, voxels=voxels)) == 4
    assert comparison.shown_slice(before, before) == 2


def test_the_place_is_the_box_round_what_changed():
    before, after, mask = pair((1, 64, 64), SMALL)
    difference = (after.voxels - before.voxels)[0]
    assert comparison.changed_place(mask[0], difference) == comparison.Place((10, 14), (20, 26))
    assert comparison.changed_place(np.zeros((4, 4), bool), np.zeros((4, 4), np.float32)) is None
    assert comparison.changed_place(np.ones((4, 4), bool), np.ones((4, 4), np.float32)) is None


def test_where_a_lossy_step_spread_the_change_the_strongest_part_is_the_place():
    before, after, _ = pair((1, 64, 64), SMALL)
    spread = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (64, 64))
    difference = (after.voxels - before.voxels)[0] + spread
    place = comparison.changed_place(difference != 0, difference)
    assert place is not None
    (top, bottom), (left, right) = place.rows, place.columns
    assert top <= 10 < 14 <= bottom < 30
    assert 5 < left <= 20 < 26 <= right < 40


def test_more_is_warm_and_less_is_cold():
    before, more, mask = pair((1, 64, 64), SMALL)
    less = replace(more, voxels=2 * before.voxels - more.voxels)
    for after, red_wins in ((more, True), (less, False)):
        panel = np.asarray(comparison.draw(before, after, mask, "x"))[:, -600:-160].astype(int)
        vivid = np.abs(panel[..., 0] - panel[..., 2]) > 60
        vivid &= ~(panel == comparison.BOX).all(axis=-1)
        assert ((panel[..., 0] > panel[..., 2])[vivid].mean() > 0.9) == red_wins


def test_a_radiograph_that_is_stored_inverted_is_shown_as_a_viewer_shows_it():
    before = phantom.radiograph((64, 64))
    mask = np.zeros(before.shape, bool)
    plain = np.asarray(comparison.draw(before, before, mask, "x"))
    inverted = np.asarray(comparison.draw(replace(before, photometric="MONOCHROME1"), before, mask, "x"))
    panel = np.s_[200:400, 100:300]
    assert np.array_equal(255 - plain[panel], inverted[panel])


def test_the_file_says_what_it_is_and_is_known_as_our_own(tmp_path, mark):
    before, after, mask = pair((3, 64, 64), SMALL)
    path = tmp_path / f"a{comparison.SUFFIX}"
    comparison.write(path, before, after, mask, mark)
    with Image.open(path) as image:
        assert image.text["Warning"] == mark.text
    assert pictures.is_own(path.read_bytes())
