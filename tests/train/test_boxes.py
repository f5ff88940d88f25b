from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.train import boxes
from tamperscope.train.augment import Augmentation
from tamperscope.train.boxes import around, mirrored
from tamperscope.train.picture_cache import Shown, Slices
from tamperscope.train.slices import BoxBatches

CHEST = phantom.chest((3, 24, 24), (2.5, 15.0, 15.0))
FILM = phantom.radiograph((24, 24))


def mask(*places: tuple[slice, slice], shape: tuple[int, int] = (40, 80)) -> np.ndarray:
    made = np.zeros(shape, bool)
    for place in places:
        made[place] = True
    return made


def case(volume=CHEST, *, forged: bool = True, changed: np.ndarray | None = None, places=()) -> Case:
    return Case("c/p/s", "p", forged, volume, changed, tuple(places), {})


def test_a_box_ends_exactly_where_the_change_does():
    found = around(mask(np.s_[10:20, 20:60]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[20 / 80, 10 / 40, 60 / 80, 20 / 40]])


def test_distant_places_have_a_box_each_and_near_ones_share_one():
    far = around(mask(np.s_[0:5, 0:5], np.s_[30:40, 70:80]))
    np.testing.assert_allclose(far, [[0, 0, 5 / 80, 5 / 40], [70 / 80, 30 / 40, 1, 1]])
    near = around(mask(np.s_[0:5, 0:5], np.s_[0:5, 9:14]))
    np.testing.assert_allclose(near, [[0, 0, 14 / 80, 5 / 40]])


def test_what_touches_at_a_corner_is_one_place():
    assert len(around(mask(np.s_[0:8, 0:8], np.s_[8:16, 8:16]))) == 1


def test_specks_have_no_box_unless_there_is_nothing_else():
    speck = np.s_[30:31, 70:71]
    assert len(around(mask(np.s_[0:5, 0:5], speck))) == 1
    np.testing.assert_allclose(around(mask(np.s_[0:1, 0:1], speck)), [[0, 0, 71 / 80, 31 / 40]])


def test_a_mask_of_nothing_has_no_box():
    assert around(mask()).shape == (0, 4)


def test_boxes_lie_in_the_slices_that_were_changed():
    changed = np.zeros(CHEST.shape, bool)
    changed[1, 6:12, 12:24] = True
    changed[2, 0, 0] = True
    found = boxes.of(case(changed=changed))
    assert [len(one) for one in found] == [0, 1, 1]
    np.testing.assert_allclose(found[1], [[0.5, 0.25, 1.0, 0.5]])
    authentic = case(forged=False, changed=np.zeros(CHEST.shape, bool))
    assert [len(one) for one in boxes.of(authentic)] == [0, 0, 0]


def test_without_a_mask_a_single_picture_is_forged_as_a_whole_and_nothing_else_has_a_box():
    (whole,) = boxes.of(case(FILM))
    assert whole.tolist() == [[0.0, 0.0, 1.0, 1.0]]
    for unsure in (case(FILM, places=[(0, 5, 5)]), case(places=[(1, 5, 5)]), case()):
        assert [len(one) for one in boxes.of(unsure)] == [0] * unsure.volume.shape[0]


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ((False, False), [0.1, 0.2, 0.4, 0.6]),
        ((True, False), [0.6, 0.2, 0.9, 0.6]),
        ((False, True), [0.1, 0.4, 0.4, 0.8]),
        ((True, True), [0.6, 0.4, 0.9, 0.8]),
    ],
)
def test_mirrored_boxes_stay_boxes(turn, expected):
    box = np.array([[0.1, 0.2, 0.4, 0.6]], np.float32)
    np.testing.assert_allclose(mirrored(box, *turn), [expected], atol=1e-6)
    assert mirrored(box[:0], *turn).shape == (0, 4)


def corner() -> Slices:
    """Dark; the forged slice is bright in its upper left quarter, which is its box."""
    dark, bright = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    bright[:4, :4] = 255
    none, box = np.empty((0, 4), np.float32), np.array([[0, 0, 0.5, 0.5]], np.float32)
    forged = Shown("f", True, "CT", (dark, bright), np.array([0, 1], np.int8), (none, box))
    return Slices((forged, replace(forged, name="a", forged=False, labels=np.zeros(2, np.int8))))


def test_half_of_a_batch_has_boxes_and_each_lies_on_what_it_marks():
    batches = BoxBatches(corner(), Augmentation(flips=True, brightness=0.1, noise=0.02))
    drawn = batches.drawn(np.random.default_rng(0), 32)
    assert drawn.pictures.shape == (32, 1, 8, 8)
    assert drawn.boxes.shape[1] == 4
    forged = set(drawn.owners.tolist())
    assert len(forged) >= 16
    seen = set()
    for owner, box in zip(drawn.owners, drawn.boxes, strict=True):
        left, top, right, bottom = np.rint(box * 8).astype(int)
        seen.add((left, top))
        picture = drawn.pictures[owner, 0]
        assert picture[top:bottom, left:right].min() > 0.7
        assert picture.mean() < 0.45
    assert seen == {(0, 0), (4, 0), (0, 4), (4, 4)}


def test_the_same_generator_draws_the_same_batch():
    batches = BoxBatches(corner(), Augmentation(flips=True, noise=0.02))
    one, other = (batches.drawn(np.random.default_rng(4), 8) for _ in range(2))
    for key in ("pictures", "boxes", "owners"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
