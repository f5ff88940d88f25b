from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks import fills
from tamperscope.errors import AttackError

ROW, COLUMN = np.mgrid[:40, :44]
HOLE = np.hypot(ROW - 20, COLUMN - 22) < 9
RAMP = (3.0 * ROW - 2.0 * COLUMN).astype(np.float32)


def filled(plane: np.ndarray, kind: str, hole: np.ndarray = HOLE) -> np.ndarray:
    return fills.fill(np.where(hole, 9999.0, plane).astype(np.float32), hole, kind, np.random.default_rng(1))


@pytest.mark.parametrize("kind", fills.FILLS)
def test_what_lies_outside_the_hole_stays_and_a_constant_is_continued(kind):
    noise = np.random.default_rng(0).normal(0.0, 20.0, HOLE.shape).astype(np.float32)
    assert np.array_equal(filled(noise, kind)[~HOLE], noise[~HOLE])
    np.testing.assert_allclose(filled(np.full(HOLE.shape, -850.0), kind), -850.0, atol=0.1)


@pytest.mark.parametrize("kind", ["harmonic", "biharmonic"])
def test_a_ramp_is_continued(kind):
    np.testing.assert_allclose(filled(RAMP, kind), RAMP, atol=0.1)


def test_a_bend_is_continued_by_the_plate_and_flattened_by_the_membrane():
    bowl = (0.2 * (ROW - 20.0) ** 2 + 0.2 * (COLUMN - 22.0) ** 2).astype(np.float32)
    plate, membrane = (np.abs(filled(bowl, kind) - bowl)[HOLE].max() for kind in ("biharmonic", "harmonic"))
    assert plate < 0.35 * membrane


def test_total_variation_keeps_an_edge_that_the_membrane_smears():
    edge = np.where(COLUMN < 24, -850.0, 40.0)
    tv, membrane = (filled(edge, kind)[20, 14:31] for kind in ("tv", "harmonic"))
    assert np.abs(np.diff(tv)).max() > 200.0
    assert np.abs(np.diff(membrane)).max() < 120.0


def test_patches_are_copied_from_outside_the_hole():
    values = np.random.default_rng(0).permutation(HOLE.size).reshape(HOLE.shape).astype(np.float32)
    copied = filled(values, "patchmatch")[HOLE]
    assert np.isin(copied, values[~HOLE]).all()


def test_patches_continue_stripes():
    stripes = np.where(ROW % 8 < 4, 100.0, -100.0)
    assert np.abs(filled(stripes, "patchmatch") - stripes)[HOLE].mean() < 15.0
    assert np.abs(filled(stripes, "harmonic") - stripes)[HOLE].mean() > 50.0


@pytest.mark.parametrize("kind", fills.FILLS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (3, 2), (9, 9)])
def test_tiny_planes_and_holes_that_are_all_or_nothing_are_left(kind, shape):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for hole in (np.zeros(shape, bool), np.ones(shape, bool)):
        assert np.array_equal(fills.fill(plane, hole, kind, np.random.default_rng(0)), plane)
    corner = np.zeros(shape, bool)
    corner[0, 0] = True
    assert np.isfinite(fills.fill(plane, corner, kind, np.random.default_rng(0))).all()


def test_guided_takes_the_gradients_of_the_guide_and_the_level_of_the_rim():
    flat = np.full(HOLE.shape, -850.0, np.float32)
    bump = (60.0 * np.exp(-((ROW - 20.0) ** 2 + (COLUMN - 22.0) ** 2) / 18.0)).astype(np.float32)
    cloned = fills.guided(flat, HOLE, bump + 500.0, mixed=False)
    np.testing.assert_allclose(cloned[HOLE], (bump - 850.0)[HOLE], atol=2.0)
    assert np.array_equal(cloned[~HOLE], flat[~HOLE])


def test_mixed_gradients_keep_what_the_plane_shows():
    vessel = np.where(np.abs(ROW - 20) < 2, 40.0, -850.0).astype(np.float32)
    flat = np.zeros(HOLE.shape, np.float32)
    mixed, plain = (fills.guided(vessel, HOLE, flat, mixed=mixed) for mixed in (True, False))
    np.testing.assert_allclose(mixed, vessel, atol=0.1)
    assert plain[20, 22] < -400.0


def test_an_unknown_fill_is_refused_with_the_known_ones():
    with pytest.raises(AttackError, match="patchmatch"):
        fills.fill(RAMP, HOLE, "foam", np.random.default_rng(0))
