from __future__ import annotations

import math

import numpy as np
import pytest

from tamperscope import anatomy, phantom
from tamperscope.evaluate.localisation import RADIUS_MM, Placed, judge, summary

SPACING = (2.5, 1.5, 1.0)


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((2, 240, 360), SPACING)


def peak(volume, k: int, row: int, column: int) -> np.ndarray:
    """A heat map with one maximum, on a low ground of noise."""
    heatmap = np.random.default_rng(1).uniform(0, 0.1, volume.shape).astype(np.float32)
    y, x = np.mgrid[: volume.shape[1], : volume.shape[2]]
    heatmap[k] += np.exp(-(((y - row) * 1.5 / 10) ** 2) - ((x - column) / 10) ** 2).astype(np.float32)
    return heatmap


def test_a_peak_at_the_label_is_a_hit_that_ranks_first(volume):
    found = judge("g", volume, peak(volume, 1, 120, 100), (1, 120, 100), np.random.default_rng(0))
    assert found == Placed("g", True, 1.0)


def test_a_peak_elsewhere_is_a_miss(volume):
    found = judge("g", volume, peak(volume, 1, 120, 250), (1, 120, 100), np.random.default_rng(0))
    assert not found.hit
    assert found.region_auroc < 0.9


def test_only_the_labelled_slice_counts(volume):
    assert not judge("g", volume, peak(volume, 0, 120, 100), (1, 120, 100), np.random.default_rng(0)).hit


@pytest.mark.parametrize(("row", "column", "hit"), [(15, 0, True), (17, 0, False), (0, 23, True), (0, 26, False)])
def test_the_distance_is_in_millimetres_along_both_axes(volume, row, column, hit):
    heatmap = np.zeros(volume.shape, np.float32)
    heatmap[0, 120 + row, 100 + column] = 1.0
    assert anatomy.body(volume.voxels)[0, 120 + row, 100 + column]
    assert (np.hypot(row * 1.5, column) <= RADIUS_MM) == hit
    assert judge("g", volume, heatmap, (0, 120, 100), np.random.default_rng(0)).hit == hit


def test_a_peak_outside_the_body_does_not_count(volume):
    heatmap = peak(volume, 0, 120, 100)
    heatmap[0, 0, 0] = 9.0
    assert judge("g", volume, heatmap, (0, 120, 100), np.random.default_rng(0)).hit


def test_the_same_generator_gives_the_same_answer(volume):
    heatmap = np.random.default_rng(2).uniform(size=volume.shape).astype(np.float32)
    first, again = (judge("g", volume, heatmap, (0, 120, 100), np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert 0.0 <= first.region_auroc <= 1.0


def test_the_summary_counts_each_group():
    table = summary([Placed("b", True, 0.9), Placed("a", False, 0.2), Placed("b", False, 0.7), Placed("b", True, 0.8)])
    assert list(table) == ["a", "b"]
    assert table["b"]["slices"] == 3
    assert table["b"]["pointing"] == pytest.approx(2 / 3)
    assert table["b"]["region_auroc"] == pytest.approx(0.8)
    assert table["b"]["pointing_low"] < 2 / 3 < table["b"]["pointing_high"]
    assert table["a"]["pointing"] == 0.0
    assert table["a"]["pointing_low"] == 0.0
    assert summary([]) == {}


def test_slices_without_a_comparison_are_left_out_of_the_mean():
    table = summary([Placed("a", False, math.nan), Placed("a", True, 0.6), Placed("b", False, math.nan)])
    assert table["a"]["region_auroc"] == pytest.approx(0.6)
    assert math.isnan(table["b"]["region_auroc"])


def test_a_slice_without_a_patient_is_a_miss():
    empty = phantom.chest((1, 32, 32), (2.5, 0.7, 0.7))
    empty.voxels[...] = -1000.0
    found = judge("g", empty, np.ones((1, 32, 32), np.float32), (0, 9, 9), np.random.default_rng(0))
    assert not found.hit
    assert math.isnan(found.region_auroc)
