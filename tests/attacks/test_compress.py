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


@pytest.mark.parametrize("error", [1, 5])
def test_near_lossless_moves_no_value_further_than_its_error(volume, error):
    packed = Compress("jpeg-ls").apply(volume, {"codec": "jpeg-ls", "error": error}).volume.voxels
    assert np.abs(packed - volume.voxels).max() == error


def test_a_mode_fixes_the_codec_and_without_one_it_is_drawn(volume):
    drawn = {str(Compress().sample(volume, np.random.default_rng(seed))["codec"]) for seed in range(20)}
    assert drawn == {"jpeg", "jpeg2000"}
    for mode in ("jpeg", "jpeg2000", "jpeg-ls"):
        assert Compress(mode).sample(volume, np.random.default_rng(0))["codec"] == mode


def test_jpeg_keeps_the_range_of_a_radiograph():
    film = phantom.radiograph((64, 64))
    packed = Compress("jpeg").apply(film, {"codec": "jpeg", "quality": 95}).volume.voxels
    assert packed.max() == pytest.approx(film.voxels.max(), rel=0.03)
