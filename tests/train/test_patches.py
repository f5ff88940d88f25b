from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom
from tamperscope.errors import InputError
from tamperscope.train.patches import EVERY, SIDE, Patches, from_pictures, from_volumes

CHEST = phantom.chest((7, 96, 100), (2.5, 3.6, 3.6))


def test_slices_and_pictures_weigh_what_they_are_told():
    slices = from_volumes([("a", CHEST), ("a", CHEST), ("b", CHEST)], 0.6)
    assert len(slices) == 3 * len(range(0, 7, EVERY))
    assert sum(one.weight for one in slices) == pytest.approx(0.6)
    assert sum(one.weight for one in slices[-3:]) == pytest.approx(0.3), "a patient with one of three volumes"
    films = from_pictures(np.zeros((5, 80, 80), np.float32), 0.4)
    assert sum(one.weight for one in films) == pytest.approx(0.4)


def test_patches_are_reproducible_and_hold_more_than_air():
    patches = Patches(from_volumes([("a", CHEST)], 1.0))
    drawn = patches.draw(np.random.default_rng(0), 12)
    assert drawn.shape == (12, 1, SIDE, SIDE)
    assert drawn.dtype == np.float32
    assert np.abs(drawn).max() <= 1.0
    assert np.ptp(drawn, axis=(1, 2, 3)).min() > 0.02
    assert np.array_equal(drawn, patches.draw(np.random.default_rng(0), 12))


def test_a_constant_picture_ends_the_search():
    flat = Patches(from_pictures(np.full((1, 70, 70), -1.0, np.float32), 1.0))
    assert (flat.draw(np.random.default_rng(0), 2) == -1.0).all()


def test_pictures_that_are_too_small_are_left_out():
    small = phantom.chest((2, 40, 96), (2.5, 3.6, 3.6))
    assert from_volumes([("a", small)], 1.0) == []
    with pytest.raises(InputError, match="64 pixels"):
        Patches([])
