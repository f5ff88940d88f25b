from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tamperscope.records import Volume


@pytest.fixture
def make() -> Callable[..., Volume]:
    """A CT Volume of given voxels, 1 mm a side unless told."""

    def volume(voxels: np.ndarray, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
        k, j, i = spacing_mm
        affine = np.array([[0, 0, i, 0], [0, j, 0, 0], [k, 0, 0, 0], [0, 0, 0, 1.0]])
        return Volume(voxels.astype(np.float32), affine, "CT", digest=f"of {voxels.shape}")

    return volume
