from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks import lung_grid
from tamperscope.errors import AttackError

NATIVE = (2.0, 1.0, 1.0)


def ramp(shape: tuple[int, int, int]) -> np.ndarray:
    """Rises by 4, 2 and 1 a voxel along k, j and i."""
    k, j, i = np.indices(shape)
    return 4.0 * k + 2.0 * j + i


def test_a_volume_on_the_grid_is_seen_as_it_is(make):
    volume = make(ramp((20, 40, 40)), NATIVE)
    where, seen = lung_grid.see(volume, (10, 20, 20), 3)
    assert [(s.start, s.stop) for s in where] == [(2, 18), (4, 36), (4, 36)]
    assert np.array_equal(seen, volume.voxels[where])


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.6, 0.9), (2.5, 0.7, 0.7), (5.0, 0.98, 0.98)])
@pytest.mark.parametrize("how", lung_grid.PASTES)
def test_what_is_seen_comes_back_on_the_scan(make, spacing_mm, how):
    volume = make(ramp((40, 64, 64)), spacing_mm)
    where, seen = lung_grid.see(volume, (20, 30, 30), 1)
    assert seen.shape == lung_grid.SHAPE
    back = lung_grid.bring_back(volume, where, seen, seen, how, 1)
    assert back == pytest.approx(volume.voxels[where], abs=1e-2), "a ramp survives linear interpolation"


def test_a_difference_leaves_the_grain_of_the_scan_alone(make):
    noise = np.random.default_rng(0).normal(-850.0, 30.0, (30, 60, 60))
    volume = make(noise, (1.25, 0.7, 0.7))
    where, seen = lung_grid.see(volume, (15, 30, 30), 3)
    added = lung_grid.bring_back(volume, where, seen, seen + 100.0, "difference", 3) - volume.voxels[where]
    assert added == pytest.approx(np.full(added.shape, 100.0), abs=0.01)


@pytest.mark.parametrize(("shape", "seen_slices"), [((1, 50, 50), 1), ((3, 50, 50), 3)])
def test_a_thin_stack_fills_the_middle_and_its_border_is_repeated(make, shape, seen_slices):
    volume = make(ramp(shape), NATIVE)
    where, seen = lung_grid.see(volume, (0, 25, 25), 1)
    inside = lung_grid.bring_back(volume, where, seen, seen, "cube", 1)
    assert np.array_equal(inside, volume.voxels[where])
    assert len(np.unique(seen[:, 0, 0])) == seen_slices
    assert np.array_equal(seen[0], volume.voxels[where][0])
    assert np.array_equal(seen[-1], volume.voxels[where][-1])


def test_another_way_to_paste_is_refused(make):
    volume = make(ramp((20, 40, 40)), NATIVE)
    where, seen = lung_grid.see(volume, (10, 20, 20), 1)
    with pytest.raises(AttackError, match="'glue'"):
        lung_grid.bring_back(volume, where, seen, seen, "glue", 1)


def test_distances_are_millimetres_from_the_middle():
    k, j, i = lung_grid.distance_mm()
    assert (k.min(), k.max()) == (-15.0, 15.0)
    assert (j.min(), i.max()) == (-15.5, 15.5)
    assert np.broadcast_shapes(k.shape, j.shape, i.shape) == lung_grid.SHAPE
