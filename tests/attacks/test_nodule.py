from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.nodule import Nodule, sample_shape, shape

BALL = {"radius_mm": 6.0, "lobulation": 0.0, "edge_mm": 0.2, "stretch": [1.0, 1.0, 1.0], "shape_seed": 1}


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 0.7, 0.7)])
def test_a_plain_nodule_is_a_ball_of_its_radius_in_millimetres(spacing_mm):
    size = tuple(round(30.0 / mm) for mm in spacing_mm)
    inside = shape(size, spacing_mm, BALL) > 0.5
    assert inside.sum() * np.prod(spacing_mm) == pytest.approx(4 / 3 * np.pi * 6.0**3, rel=0.05)


def test_lobulation_moves_the_surface_but_not_the_middle():
    opacity = shape((31, 31, 31), (1.0, 1.0, 1.0), BALL | {"lobulation": 0.4})
    assert opacity[15, 15, 15] > 0.99
    assert opacity[0, 0, 0] < 0.01
    assert ((opacity > 0.5) != (shape((31, 31, 31), (1.0, 1.0, 1.0), BALL) > 0.5)).sum() > 20


@pytest.mark.parametrize("blend", ["maximum", "opacity"])
def test_it_has_its_level_in_the_middle_and_nothing_two_radii_away(lung, no_grain, blend):
    params = no_grain | BALL | {"centre": [24, 24, 24], "level_hu": 40.0, "blend": blend}
    forgery = Nodule().apply(lung, params)
    assert forgery.volume.voxels[24, 24, 24] == pytest.approx(40.0, abs=1.0)
    assert not forgery.mask[:, :, :12].any()
    if blend == "maximum":
        assert (forgery.volume.voxels >= lung.voxels).all()


def test_shapes_are_drawn_within_what_a_screening_finds():
    drawn = [sample_shape(np.random.default_rng(seed)) for seed in range(50)]
    assert all(2.5 <= one["radius_mm"] <= 9.0 for one in drawn)
    assert all(-600.0 <= one["level_hu"] <= 130.0 for one in drawn)
