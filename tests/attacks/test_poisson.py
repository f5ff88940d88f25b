from __future__ import annotations

import numpy as np
import pytest

from tamperscope.attacks.poisson import Poisson

PLAIN = {"centre": [24, 24, 34], "source": [24, 24, 12], "size_mm": 18.0, "mirror": False, "mixed": False}


def test_a_piece_of_another_level_arrives_without_a_step(lung):
    lung.voxels[:, :, :23] += 300.0
    forgery = Poisson().apply(lung, PLAIN)
    place = forgery.volume.voxels[forgery.mask]
    assert place.mean() == pytest.approx(-850.0, abs=15.0)
    assert 10.0 < place.std() < 35.0, "the source's noise came along"


def test_a_finding_is_cloned(make):
    voxels = np.full((48, 48, 48), -850.0)
    voxels[22:27, 22:27, 10:15] = 40.0
    forged = Poisson().apply(make(voxels), PLAIN).volume.voxels
    np.testing.assert_allclose(forged[22:27, 22:27, 32:37], 40.0, atol=1.0)
    assert np.array_equal(forged[:, :, :24], voxels[:, :, :24])


def test_mirrored_it_comes_mirrored(make):
    voxels = np.full((48, 48, 48), -850.0)
    voxels[22:27, 22:27, 8:11] = 40.0
    plain, mirrored = (
        Poisson().apply(make(voxels), PLAIN | {"mirror": mirror}).volume.voxels[24, 24] for mirror in (False, True)
    )
    assert plain[32] > 0.0 > plain[36]
    assert mirrored[36] > 0.0 > mirrored[31]


@pytest.mark.parametrize("seed", range(5))
def test_the_source_is_elsewhere_and_like_the_rim(make, seed):
    voxels = np.random.default_rng(1).normal(-850.0, 20.0, (20, 128, 128))
    voxels[:, :, 80:] = 40.0
    voxels[7:13, 36:44, 36:44] = 40.0
    params = Poisson().sample(make(np.rint(voxels)), np.random.default_rng(seed), (10, 40, 40))
    _, j, i = params["source"]
    assert max(abs(j - 40), abs(i - 40)) >= 0.9 * params["size_mm"]
    assert i < 80, "lung, as round the finding, not soft tissue, as in it"
