from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import BlurRegrain
from tamperscope.evaluate import probe

PLACE = (1, 64, 40)


@pytest.fixture(scope="module")
def scans():
    return [(f"patient {n}", phantom.chest((3, 128, 128), (2.5, 2.7, 2.7), np.random.default_rng(n))) for n in range(4)]


def test_untouched_twins_cannot_be_told_apart(scans):
    same = [probe.features(volume, PLACE) for _, volume in scans]
    assert probe.strength(same, same, [who for who, _ in scans]) == 0.5


def test_a_blurred_place_is_found_in_patients_that_were_not_seen(scans):
    places = [(1, 60 + 4 * n, 36 + 3 * n) for n in range(3)]
    attack, rng = BlurRegrain(), np.random.default_rng(0)
    forged, twins, patients = [], [], []
    for who, volume in scans:
        for place in places:
            params = attack.sample(volume, rng, place)
            params |= {"filter": "gaussian", "sigma": 2.0, "size_mm": 40.0, "window": "hard", "grain": "none"}
            forged.append(probe.features(attack.apply(volume, params).volume, place))
            twins.append(probe.features(volume, place))
            patients.append(who)
    assert probe.strength(forged, twins, patients) > 0.95


def test_one_patient_alone_gives_no_answer(scans):
    one = [probe.features(scans[0][1], PLACE)]
    assert np.isnan(probe.strength(one, one, ["alone"]))


@pytest.mark.parametrize("place", [(0, 0, 0), (2, 127, 127), PLACE])
@pytest.mark.parametrize("value", [None, -850.0])
def test_features_are_finite_at_borders_and_on_constants(scans, place, value):
    volume = scans[0][1]
    if value is not None:
        volume = replace(volume, voxels=np.full_like(volume.voxels, value))
    found = probe.features(volume, place)
    assert found.shape == (9,)
    assert np.isfinite(found).all()
