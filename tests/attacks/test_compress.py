from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks.compress import Compress
from tamperscope.errors import AttackError


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((2, 128, 128), (2.5, 2.8, 2.8))


def error(volume, **params) -> float:
    """Root mean square change, in HU, of what lies in the window that JPEG keeps."""
    packed = Compress().apply(volume, params).volume.voxels
    inside = np.abs(volume.voxels) < 1000.0
    return float(np.sqrt(np.mean((packed - volume.voxels)[inside] ** 2)))


def test_low_compression_keeps_near_and_more_moves_further(volume):
    assert error(volume, codec="jpeg2000", ratio=2.0) < 4.0 < error(volume, codec="jpeg2000", ratio=14.0) < 60.0
    assert error(volume, codec="jpeg", quality=98) < 8.0 < error(volume, codec="jpeg", quality=75) < 60.0


def test_the_level_of_air_survives_both_codecs(volume):
    for params in ({"codec": "jpeg2000", "ratio": 8.0}, {"codec": "jpeg", "quality": 90}):
        packed = Compress().apply(volume, params).volume.voxels
        assert packed[0, :8, :8].mean() == pytest.approx(volume.voxels[0, :8, :8].mean(), abs=12.0)


def test_an_unknown_codec_is_refused_with_the_known_ones(volume):
    with pytest.raises(AttackError, match="jpeg2000 or jpeg"):
        Compress().apply(volume, {"codec": "gif"})
