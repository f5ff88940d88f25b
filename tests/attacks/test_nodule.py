from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.nodule import Nodule, sample_shape, shape, spicules

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


def test_a_part_solid_nodule_has_a_dense_core_in_ground_glass(lung, no_grain):
    params = no_grain | BALL | {"centre": [24, 24, 24], "level_hu": 40.0, "blend": "maximum"}
    params |= {"kind": "part-solid", "glass_hu": -550.0, "core_share": 0.5, "radius_mm": 8.0}
    profile = Nodule("part-solid").apply(lung, params).volume.voxels[24, 24]
    assert profile[24] == pytest.approx(40.0, abs=1.0)
    assert profile[[18, 30]] == pytest.approx(-550.0, abs=30.0), "6 mm from the middle"
    assert profile[[10, 38]] == pytest.approx(lung.voxels[24, 24, [10, 38]])


def test_spicules_leave_the_body_and_thin_out():
    size, spacing = (41, 41, 41), (1.0, 1.0, 1.0)
    params = BALL | {"spicules": 40, "spicule_reach": 1.0, "spicule_mm": 1.0}
    strands = spicules(size, spacing, params)
    k, j, i = np.mgrid[-20:21, -20:21, -20:21]
    radius = np.sqrt(k**2 + j**2 + i**2)
    near, far = (strands[np.abs(radius - r) < 0.5].mean() for r in (7.0, 9.0))
    assert 0.01 < far < 0.5 * near < 0.3
    assert not strands[radius > 12.5].any()


def test_spicules_of_one_slice_lie_in_it():
    flat = spicules((1, 41, 41), (2.5, 1.0, 1.0), BALL | {"spicules": 12, "spicule_reach": 1.0, "spicule_mm": 1.0})
    assert flat[0, :, :12].any() or flat[0, :, 29:].any()


def test_records_without_a_kind_are_drawn_as_before(lung, no_grain):
    params = no_grain | BALL | {"centre": [24, 24, 24], "level_hu": 40.0, "blend": "opacity"}
    solid = Nodule("solid").apply(lung, params | {"kind": "solid"})
    assert np.array_equal(Nodule().apply(lung, params).volume.voxels, solid.volume.voxels)


@pytest.mark.parametrize("mode", ["solid", "part-solid", "spiculated"])
def test_a_mode_draws_its_kind(lung, mode):
    params = Nodule(mode).sample(lung, np.random.default_rng(4), (24, 24, 24))
    assert params["kind"] == mode
    assert -60.0 <= params["level_hu"] <= 130.0
    assert Nodule(mode).name == f"nodule-{mode}"
