from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.copy_move import CopyMove


@pytest.fixture
def plain(no_grain):
    return no_grain | {
        "centre": [24, 24, 36],
        "source": [24, 24, 12],
        "size_mm": 15.0,
        "mirror": False,
        "degrees": 0.0,
        "order": 1,
        "window": "ellipsoid",
        "match_level": False,
    }


def middle(volume, centre):
    k, j, i = centre
    return volume.voxels[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3]


def test_the_middle_is_the_source(lung, plain):
    forged = CopyMove().apply(lung, plain).volume
    np.testing.assert_allclose(middle(forged, (24, 24, 36)), middle(lung, (24, 24, 12)), atol=1.0)


def test_mirrored_it_is_the_source_from_right_to_left(lung, plain):
    forged = CopyMove().apply(lung, plain | {"mirror": True}).volume
    np.testing.assert_allclose(middle(forged, (24, 24, 36)), middle(lung, (24, 24, 12))[:, :, ::-1], atol=1.0)


def test_turned_by_a_right_angle_it_is_the_turned_source(lung, plain):
    forged = CopyMove().apply(lung, plain | {"degrees": 90.0}).volume
    turned = np.rot90(middle(lung, (24, 24, 12)), axes=(1, 2))
    np.testing.assert_allclose(middle(forged, (24, 24, 36)), turned, atol=1.0)


def test_its_level_is_brought_to_that_of_the_new_place(lung, plain):
    lung.voxels[:, :, :24] += 300.0
    matched, raw = (
        middle(CopyMove().apply(lung, plain | {"match_level": match}).volume, (24, 24, 36)).mean()
        for match in (True, False)
    )
    assert matched == pytest.approx(-850.0, abs=15.0)
    assert raw == pytest.approx(-550.0, abs=15.0)
