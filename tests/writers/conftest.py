from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tamperscope
from tamperscope.decode import decode
from tamperscope.records import Volume, voxel_digest
from tamperscope.writers import Mark


@pytest.fixture
def mark() -> Mark:
    return Mark("nodule", "ab" * 32)


@pytest.fixture
def opened():
    """A path to its only series and its voxels."""

    def opened(path):
        reading = tamperscope.read(path)
        assert not reading.failed, reading.failed
        (study,) = reading.studies
        (series,) = study.series
        return series, decode(series)

    return opened


@pytest.fixture
def altered():
    """A volume with other values in a box of its last slice."""

    def altered(volume: Volume, value: float, where=np.s_[-1, 2:5, 3:6]) -> Volume:
        voxels = volume.voxels.copy()
        voxels[where] = value
        return replace(volume, voxels=voxels, digest=voxel_digest(voxels))

    return altered
