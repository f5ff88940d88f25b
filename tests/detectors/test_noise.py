from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tamperscope import detectors, phantom
from tamperscope.detectors.noise import NoiseDetector
from tamperscope.inputs import ct

CARD = next(card for card in detectors.packaged_cards() if card.file is None)
PLACE = np.s_[1:2, 180:210, 110:140]
"""In one of the two lungs."""


@pytest.fixture(scope="module")
def chest():
    """A body with two lungs, without vessels, under noise that is everywhere alike; slices far apart."""
    y, x = np.mgrid[-192:192, -192:192]
    body = np.hypot(x / 170, y / 120) < 1
    lungs = np.hypot((np.abs(x) - 75) / 55, y / 85) < 1
    plain = np.select([lungs, body], [-850.0, 40.0], -1000.0)
    noise = ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 1, (3, 384, 384)), (0, 0.6, 0.6))
    like = phantom.chest((3, 8, 8), (10.0, 0.9, 0.9))
    return replace(like, voxels=np.rint(plain + 25 * noise / noise.std()).astype(np.float32))


def altered(volume, change):
    """A copy whose square at PLACE went through ``change``."""
    voxels = volume.voxels.copy()
    voxels[PLACE] = np.rint(change(voxels[PLACE]))
    return replace(volume, voxels=voxels)


def at_place(evidence) -> float:
    return float(evidence.heatmap[PLACE].max())


CHANGES = {
    "smoothed": lambda part: ndimage.gaussian_filter(part, (0, 1.5, 1.5)),
    "noise added": lambda part: part + np.random.default_rng(0).normal(0, 60, part.shape),
    "flat": lambda part: np.full_like(part, -850.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_square_with_another_noise_is_the_most_striking_place(chest, change):
    detector = NoiseDetector(CARD)
    before, after = detector.detect(chest), detector.detect(altered(chest, change))
    assert after.score > before.score
    assert at_place(after) > 2 * at_place(before)
    k, row, column = np.unravel_index(int(after.heatmap.argmax()), chest.shape)
    assert (k, 170 <= row < 220, 100 <= column < 150) == (1, True, True)
    assert max(after.slice_scores) == after.slice_scores[1]


def test_slices_far_apart_are_judged_alone(chest):
    after = NoiseDetector(CARD).detect(altered(chest, CHANGES["smoothed"]))
    before = NoiseDetector(CARD).detect(chest)
    assert after.slice_scores[0] == before.slice_scores[0]
    assert after.slice_scores[2] == before.slice_scores[2]


def test_a_shift_of_all_values_within_the_clip_changes_little(chest):
    """It looks at noise, not at brightness: one Hounsfield unit more everywhere moves hardly anything."""
    first = NoiseDetector(CARD).detect(chest).score
    assert NoiseDetector(CARD).detect(replace(chest, voxels=chest.voxels + 1)).score == pytest.approx(first, rel=0.25)


def test_distances_are_never_negative_and_zero_where_nothing_can_be_compared(chest):
    detector = NoiseDetector(CARD)
    inside = ct.body_of(chest)
    maps = detector.maps(chest, inside)
    assert maps.shape == inside.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0.0
    assert not maps[~inside].any()
    few = np.zeros_like(inside)
    few[:, 40:46, 40:46] = True
    assert not detector.maps(chest, few).any()
    assert not detector.maps(chest, np.zeros_like(inside)).any()


def test_it_bears_the_name_of_its_card():
    assert NoiseDetector(CARD).name == CARD.name
    assert isinstance(detectors.from_card(CARD), NoiseDetector)
