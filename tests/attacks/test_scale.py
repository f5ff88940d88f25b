from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import scale


def test_ct_takes_the_window_and_all_else_its_own_range():
    chest, film = phantom.chest((1, 32, 32)), phantom.radiograph((32, 32))
    assert scale.span(chest, (-1000.0, 400.0)) == (-1000.0, 400.0)
    assert scale.span(film, (-1000.0, 400.0)) == (film.voxels.min(), film.voxels.max())


def test_a_constant_picture_has_a_range_too():
    low, high = scale.span(replace(phantom.radiograph((8, 8)), voxels=np.full((1, 8, 8), 7.0, np.float32)), (0.0, 1.0))
    assert low == 7.0
    assert high > low


def test_there_and_back_is_the_same_inside_the_window():
    values = np.linspace(-1000.0, 400.0, 57, dtype=np.float32)
    unit = scale.squeeze(values, (-1000.0, 400.0))
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (-1.0, 1.0)
    assert scale.stretch(unit, (-1000.0, 400.0)) == pytest.approx(values, abs=1e-3)


def test_beyond_the_ends_lie_the_ends():
    assert scale.squeeze(np.array([-2000.0, 3000.0], np.float32), (-1000.0, 400.0)).tolist() == [-1.0, 1.0]
    assert scale.stretch(np.array([-9.0, 9.0], np.float32), (-1000.0, 400.0)).tolist() == [-1000.0, 400.0]
