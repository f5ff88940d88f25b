from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.evaluate.simulate import AROUND, FAMILIAR, simulate


@pytest.fixture(scope="module")
def made():
    volumes = [
        ("one", phantom.chest((24, 128, 128), (2.5, 2.7, 2.7), np.random.default_rng(1))),
        ("two", phantom.chest((1, 128, 128), (2.5, 2.7, 2.7), np.random.default_rng(2))),
        ("two", phantom.chest((1, 128, 128), (2.5, 2.7, 2.7), np.random.default_rng(3))),
    ]
    return volumes, list(simulate(volumes, FAMILIAR, 2, np.random.default_rng(0)))


def test_every_attack_is_made_as_often(made):
    names = [one.attack for one in made[1]]
    assert {name: names.count(name) for name in names} == dict.fromkeys(FAMILIAR, 2)


def test_twins_are_short_and_differ_from_the_forgery_alone(made):
    for one in made[1]:
        assert one.twin.shape == one.forged.shape
        assert one.twin.shape[0] <= 2 * AROUND + 1
        assert (one.twin.voxels != one.forged.voxels).any()


def test_a_splice_takes_from_another_patient_and_nobody_is_drawn_more_for_having_more_scans(made):
    assert {one.patient for one in made[1]} == {"one", "two"}
