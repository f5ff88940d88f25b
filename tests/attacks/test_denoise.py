from __future__ import annotations

import pytest

from tamperscope import preprocess
from tamperscope.attacks.denoise import Denoise

FILTERS = ["gaussian", "median", "wiener"]


@pytest.mark.parametrize("kind", FILTERS)
def test_it_lowers_the_noise_and_keeps_the_level(lung, kind):
    calm = Denoise().apply(lung, {"filter": kind, "sigma": 0.9, "share": 1.0}).volume.voxels
    assert preprocess.noise_level(calm[20]) < 0.8 * preprocess.noise_level(lung.voxels[20])
    assert calm.mean() == pytest.approx(lung.voxels.mean(), abs=1.0)


@pytest.mark.parametrize("kind", FILTERS)
def test_a_share_of_nothing_is_the_original(lung, kind):
    same = Denoise().apply(lung, {"filter": kind, "sigma": 0.9, "share": 0.0}).volume
    assert (same.voxels == lung.voxels).all()


def test_slices_do_not_mix(lung):
    lung.voxels[20] = 500.0
    calm = Denoise().apply(lung, {"filter": "gaussian", "sigma": 1.1, "share": 1.0}).volume.voxels
    assert calm[19].max() < -700.0
