from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.resize_finding import ResizeFinding

PLAIN = {"centre": [24, 24, 24], "radius_mm": 20.0, "order": 1}


@pytest.fixture
def ball(make):
    """A ball of 5 mm radius in the middle of 48 voxels of 1 mm a side."""
    k, j, i = np.mgrid[-24:24, -24:24, -24:24]
    return make(np.where(k**2 + j**2 + i**2 < 25, 40.0, -850.0))


def diameter(voxels: np.ndarray, axis: int) -> int:
    return int(np.ptp(np.nonzero(voxels > -400.0)[axis])) + 1


@pytest.mark.parametrize(("mode", "factor", "least", "most"), [("enlarge", 1.5, 12, 14), ("shrink", 0.6, 5, 7)])
def test_a_finding_grows_or_shrinks_by_about_the_factor(ball, no_grain, mode, factor, least, most):
    forged = ResizeFinding(mode).apply(ball, no_grain | PLAIN | {"factor": factor}).volume.voxels
    for axis in range(3):
        assert least <= diameter(forged, axis) <= most
    assert forged.max() == 40.0
    assert forged.min() == -850.0


def test_nothing_moves_outside_the_ball(lung, no_grain):
    forgery = ResizeFinding("enlarge").apply(lung, no_grain | PLAIN | {"factor": 1.8, "radius_mm": 10.0})
    k, j, i = np.nonzero(forgery.mask)
    assert np.hypot(np.hypot(k - 24, j - 24), i - 24).max() <= 10.0


@pytest.mark.parametrize("order", [1, 3])
def test_a_factor_of_one_changes_nothing(lung, no_grain, order):
    params = no_grain | PLAIN | {"factor": 1.0, "order": order}
    assert not ResizeFinding("enlarge").apply(lung, params).mask.any()


def test_the_warp_is_one_to_one_for_every_factor_that_is_drawn(make):
    tiny = make(np.zeros((1, 9, 9)))
    u = np.linspace(0.0, 1.0, 1001)
    for mode in ("enlarge", "shrink"):
        for seed in range(20):
            factor = ResizeFinding(mode).sample(tiny, np.random.default_rng(seed), (0, 4, 4))["factor"]
            source = u * (1.0 - (1.0 - 1.0 / factor) * (1.0 - u**2) ** 2)
            assert (np.diff(source) > 0.0).all()
            assert (factor > 1.0) == (mode == "enlarge")


def test_at_a_corner_the_centre_stays_at_its_place(ball, no_grain):
    ball.voxels[:] = np.roll(ball.voxels, (-20, -20, -20), (0, 1, 2))
    params = no_grain | PLAIN | {"centre": [4, 4, 4], "factor": 1.5}
    forged = ResizeFinding("enlarge").apply(ball, params).volume.voxels
    middle = np.argwhere(forged[:, :24, :24] > -400.0)
    assert middle.max() <= 11
    assert forged[4, 4, 4] == 40.0
