from __future__ import annotations

import numpy as np
import pytest

from tamperscope import preprocess
from tamperscope.attacks.resize import FILTERS, Resize
from tamperscope.errors import AttackError


@pytest.mark.parametrize("kind", FILTERS)
def test_smaller_and_back_takes_noise_away_and_keeps_size_and_level(lung, kind):
    forged = Resize().apply(lung, {"factor": 0.5, "filter": kind}).volume.voxels
    assert forged.shape == lung.voxels.shape
    assert preprocess.noise_level(forged[9]) < 0.5 * preprocess.noise_level(lung.voxels[9])
    assert forged.mean() == pytest.approx(lung.voxels.mean(), abs=0.5)


@pytest.mark.parametrize("kind", FILTERS)
def test_larger_and_back_is_closer_than_smaller_and_back(lung, kind):
    larger, smaller = (
        np.abs(Resize().apply(lung, {"factor": factor, "filter": kind}).volume.voxels - lung.voxels).mean()
        for factor in (1.5, 0.5)
    )
    assert larger < smaller


def test_an_edge_stays_where_it_is(make):
    edge = make(np.where(np.mgrid[:2, :64, :64][2] < 32, -850.0, 40.0))
    forged = Resize().apply(edge, {"factor": 0.6, "filter": "bicubic"}).volume.voxels
    assert (forged[:, :, :29] < -800.0).all()
    assert (forged[:, :, 35:] > -10.0).all()


def test_an_unknown_filter_is_refused_with_the_known_ones(lung):
    with pytest.raises(AttackError, match="lanczos"):
        Resize().apply(lung, {"factor": 0.5, "filter": "magic"})
