from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tamperscope.records import JSON, Volume

NO_GRAIN: Mapping[str, JSON] = {"grain": "none", "grain_gain": 1.0, "grain_at": [0, 0, 0], "seed": 1}


@pytest.fixture
def no_grain() -> dict[str, Any]:
    """Parameters of a place that gets no noise."""
    return dict(NO_GRAIN)


@pytest.fixture
def make() -> Callable[..., Volume]:
    """A CT Volume of given voxels, 1 mm a side unless told."""

    def volume(voxels: np.ndarray, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
        k, j, i = spacing_mm
        affine = np.array([[0, 0, i, 0], [0, j, 0, 0], [k, 0, 0, 0], [0, 0, 0, 1.0]])
        return Volume(voxels.astype(np.float32), affine, "CT", digest=f"of {voxels.shape}")

    return volume


@pytest.fixture
def lung(make: Callable[..., Volume]) -> Volume:
    """Nothing but lung and noise: 48 voxels of 1 mm a side, -850 HU, standard deviation 20 HU, whole numbers."""
    noise = np.random.default_rng(1).normal(-850.0, 20.0, (48, 48, 48))
    return make(np.rint(noise))
