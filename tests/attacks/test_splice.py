from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope.attacks.splice import Splice
from tamperscope.errors import AttackError


@pytest.fixture
def params(no_grain):
    return no_grain | {
        "centre": [24, 24, 24],
        "donor": "of (20, 60, 60)",
        "source": [10, 30, 30],
        "size_mm": 16.0,
        "order": 1,
        "window": "ellipsoid",
        "match_level": False,
    }


@pytest.fixture
def donor(make):
    """2.0 x 0.8 x 0.8 mm; 20 mm of soft tissue in the middle of fat."""
    voxels = np.full((20, 60, 60), -100.0)
    voxels[5:15, 18:42, 18:42] = 50.0
    return make(voxels, (2.0, 0.8, 0.8))


def test_the_middle_is_the_donor_at_the_spacing_of_its_new_place(lung, donor, params):
    forged = Splice((donor,)).apply(lung, params).volume.voxels
    np.testing.assert_allclose(forged[23:26, 23:26, 23:26], 50.0, atol=1.0)


def test_millimetres_are_kept(lung, donor, params):
    forged = Splice((donor,)).apply(lung, params | {"size_mm": 32.0}).volume.voxels
    soft = np.flatnonzero(forged[24, 24] > 0.0)
    assert np.ptp(soft) + 1 == pytest.approx(24 * 0.8, abs=1.5)


def test_its_level_is_brought_to_that_of_the_place(lung, donor, params):
    forged = Splice((donor,)).apply(lung, params | {"match_level": True}).volume.voxels
    assert forged[22:27, 22:27, 22:27].mean() == pytest.approx(-850.0, abs=5.0)


def test_without_the_donor_of_the_record_it_refuses(lung, params):
    with pytest.raises(AttackError, match="of \\(20, 60, 60\\)"):
        Splice((lung,)).apply(lung, params)


def test_without_any_donor_it_draws_nothing(lung):
    with pytest.raises(AttackError, match="no donor"):
        Splice().sample(lung, np.random.default_rng(0))


def test_the_donor_is_another_patient_of_the_same_modality(donor):
    rng = np.random.default_rng(0)
    film = replace(donor, modality="DX", digest="of a film")
    twin = replace(donor, study_uid="1.2.3", digest="another")
    for volume, giving, words in (
        (donor, donor, "is the study that is forged"),
        (replace(donor, study_uid="1.2.3"), twin, "is the study that is forged"),
        (film, donor, "the donor is CT, the volume DX"),
        (replace(twin, geometry="none"), donor, "states its spacing"),
    ):
        with pytest.raises(AttackError, match=words):
            Splice((giving,)).sample(volume, rng)
