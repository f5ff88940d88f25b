from __future__ import annotations

import numpy as np
import pytest

from tamperscope.errors import UsageError
from tamperscope.train.augment import GAP, HEADING, THUMBNAIL, Augmentation, contact_sheet

ALL = Augmentation(15.0, flips=True, brightness=0.1, contrast=0.2, noise=0.05)
RAMP = (np.arange(64, dtype=np.float32).reshape(1, 8, 8) + 20.0) / 128.0


def many(augmentation: Augmentation, count: int = 40) -> list[np.ndarray]:
    return [augmentation.apply(RAMP, np.random.default_rng(seed)) for seed in range(count)]


def test_none_leaves_the_picture_alone():
    assert np.array_equal(Augmentation().apply(RAMP, np.random.default_rng(0)), RAMP)


def test_the_same_generator_changes_alike_and_never_the_original():
    before = RAMP.copy()
    one, again = (ALL.apply(RAMP, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, again)
    assert np.array_equal(RAMP, before)
    assert not np.array_equal(one, ALL.apply(RAMP, np.random.default_rng(4)))


def test_it_stays_a_picture():
    for made in many(Augmentation(180.0, flips=True, brightness=1.0, contrast=1.0, noise=1.0)):
        assert made.shape == RAMP.shape
        assert made.dtype == np.float32
        assert made.min() >= 0.0
        assert made.max() <= 1.0


def test_flips_show_all_four_sides():
    corners = {float(made[0, 0, 0]) for made in many(Augmentation(flips=True))}
    assert corners == {float(RAMP[0, j, i]) for j in (0, -1) for i in (0, -1)}


def test_brightness_is_added():
    shifts = [made - RAMP for made in many(Augmentation(brightness=0.1))]
    assert max(np.ptp(shift) for shift in shifts) < 1e-6
    assert -0.1 <= min(shift.min() for shift in shifts) < -0.08
    assert 0.08 < max(shift.max() for shift in shifts) <= 0.1


def test_contrast_keeps_the_mean():
    made = many(Augmentation(contrast=0.2))
    assert all(abs(one.mean() - RAMP.mean()) < 1e-6 for one in made)
    gains = [one.std() / RAMP.std() for one in made]
    assert 0.8 <= min(gains) < 0.85
    assert 1.15 < max(gains) <= 1.2001


def test_noise_is_centred_and_bounded():
    spreads = [(made - RAMP).std() for made in many(Augmentation(noise=0.05))]
    assert max(spreads) < 0.07
    assert np.mean(spreads) == pytest.approx(0.025, rel=0.3)


def test_a_rotation_turns_about_the_middle():
    picture = np.zeros((1, 33, 33), np.float32)
    picture[0, 16, :] = 1.0
    angles = []
    for seed in range(20):
        made = Augmentation(rotation_degrees=10.0).apply(picture, np.random.default_rng(seed))
        assert made[0, 16, 16] == pytest.approx(1.0, abs=1e-5)
        angles.append(np.degrees(np.arctan2(made[0, :, 26].argmax() - 16, 10)))
    assert max(np.abs(angles)) <= 12.0
    assert min(angles) < 0.0 < max(angles)


@pytest.mark.parametrize("wrong", [{"rotation_degrees": 200.0}, {"noise": -0.1}, {"contrast": float("nan")}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_the_sheet_has_a_row_a_picture_and_a_column_a_change():
    assert list(ALL.each()) == ["rotation_degrees", "flips", "brightness", "contrast", "noise"]
    sheet = contact_sheet([RAMP, RAMP], ALL, np.random.default_rng(0))
    cell = THUMBNAIL + GAP
    assert sheet.size == ((1 + 5 + 3) * cell + GAP, 2 * cell + GAP + HEADING)
    corner = np.asarray(sheet)[HEADING + GAP, GAP]
    assert corner == round(float(RAMP[0, 0, 0]) * 255)
    assert contact_sheet([RAMP], Augmentation(), np.random.default_rng(0)).size[0] == 4 * cell + GAP
