from __future__ import annotations

import numpy as np
import pytest

from tamperscope import preprocess
from tamperscope.attacks.denoise import Denoise

FILTERS = ["gaussian", "median", "wiener", "iterative"]


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


def test_iterative_smoothing_keeps_an_edge_that_gaussian_smoothing_blurs(lung):
    lung.voxels[:, :, 24:] += 900.0
    steps = {
        kind: Denoise().apply(lung, {"filter": kind, "sigma": sigma, "share": 1.0}).volume.voxels
        for kind, sigma in (("iterative", 1.5), ("gaussian", 1.0))
    }
    flat = np.s_[20, 4:44, 4:20]
    assert steps["iterative"][flat].std() < 0.5 * lung.voxels[flat].std()
    edge = {kind: np.diff(voxels[20, :, 22:26].mean(axis=0)).max() for kind, voxels in steps.items()}
    assert edge["iterative"] > 850.0
    assert edge["gaussian"] < 500.0


def test_iterative_smoothing_leaves_what_has_no_noise(make):
    flat = make(np.full((2, 16, 16), -1000.0))
    same = Denoise("iterative").apply(flat, {"filter": "iterative", "sigma": 1.0, "share": 1.0}).volume
    assert (same.voxels == flat.voxels).all()
    assert Denoise("iterative").sample(flat, np.random.default_rng(0))["filter"] == "iterative"
