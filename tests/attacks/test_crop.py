from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks.crop import Crop
from tamperscope.errors import AttackError


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((10, 64, 72), (2.5, 5.0, 5.0))


def test_what_is_left_keeps_its_values_its_place_and_its_files(volume):
    forged = Crop().apply(volume, {"start": [2, 8, 5], "stop": [9, 60, 70]}).volume
    assert np.array_equal(forged.voxels, volume.voxels[2:9, 8:60, 5:70])
    assert forged.position_mm((0, 0, 0)) == volume.position_mm((2, 8, 5))
    assert forged.spacing_mm == volume.spacing_mm
    assert forged.sources == volume.sources[2:9]
    assert forged.sop_instance_uids == volume.sop_instance_uids[2:9]


def test_the_mask_is_empty_and_has_the_new_shape(volume):
    forgery = Crop().apply(volume, {"start": [0, 8, 5], "stop": [10, 60, 70]})
    assert forgery.mask.shape == (10, 52, 65)
    assert not forgery.mask.any()
    assert forgery.record["input"] == volume.digest


@pytest.mark.parametrize("at", [(0, 0, 0), (9, 63, 71), (5, 20, 30)])
def test_a_given_place_stays_inside(volume, at):
    for seed in range(20):
        params = Crop().sample(volume, np.random.default_rng(seed), at)
        assert all(a <= p < b for a, p, b in zip(params["start"], at, params["stop"], strict=True))


def test_no_more_than_a_fifth_goes_at_each_end(volume):
    drawn = [Crop().sample(volume, np.random.default_rng(seed)) for seed in range(20)]
    assert len({str(one) for one in drawn}) > 15
    for one in drawn:
        for first, stop, size in zip(one["start"], one["stop"], volume.shape, strict=True):
            assert first <= 0.2 * size
            assert size - stop <= 0.2 * size


@pytest.mark.parametrize("box", [([0, 0, 0], [11, 64, 72]), ([-1, 0, 0], [10, 64, 72]), ([0, 8, 0], [10, 8, 72])])
def test_a_box_that_does_not_fit_is_refused(volume, box):
    with pytest.raises(AttackError, match="inside the volume"):
        Crop().apply(volume, {"start": box[0], "stop": box[1]})
