"""What every attack on headers obeys; see `tamperscope.attacks.headers.header_attack`."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from studies import image, stored
from tamperscope.attacks import headers
from tamperscope.attacks.headers import MARK

every_attack = pytest.mark.parametrize("attack", headers.every().values(), ids=headers.every().keys())
PATIENT = {"Secret^Name", "SECRET-ID", "19500101"}


@pytest.fixture
def datasets() -> list[Dataset]:
    """Three CT slices with pixels, lossy, and already marked."""
    equipment = Dataset()
    equipment.Manufacturer = "tamperscope"
    marked = {"SyntheticData": "YES", "ContributingEquipmentSequence": Sequence([equipment])}
    return [image("CT", stored((4, 4), 0, 9), k, LossyImageCompression="01", **marked) for k in range(3)]


def elements(found: list[Dataset]) -> list[dict]:
    return [dataset.to_json_dict() | {"meta": dataset.file_meta.to_json_dict()} for dataset in found]


@every_attack
@pytest.mark.parametrize("seed", range(6))
def test_it_replays_changes_something_and_leaves_what_it_was_given(attack, datasets, seed):
    before = elements(datasets)
    params = attack.sample(datasets, np.random.default_rng(seed))
    assert params == attack.sample(datasets, np.random.default_rng(seed))
    record = json.loads(json.dumps(params, allow_nan=False))
    forged, again = attack.apply(datasets, params), attack.apply(datasets, record)
    assert elements(datasets) == before
    assert elements(forged) == elements(again)
    assert len(forged) == len(datasets)
    assert not {id(dataset) for dataset in forged} & {id(dataset) for dataset in datasets}
    # Copied UIDs change nothing in what has them already.
    if (attack.name, params.get("kind")) != ("copied-uids", "source"):
        assert elements(forged) != before


@every_attack
@pytest.mark.parametrize("seed", range(6))
def test_pixels_and_mark_stay_and_a_second_attack_finds_its_way(attack, datasets, seed):
    marks, pixels = [copy.deepcopy([one[word] for word in MARK]) for one in datasets], datasets[0].PixelData
    forged = attack.apply(datasets, attack.sample(datasets, np.random.default_rng(seed)))
    assert [[one[word] for word in MARK] for one in forged] == marks
    assert forged[0].PixelData is pixels
    for keyword in ("Rows", "Columns", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"):
        assert forged[0][keyword] == datasets[0][keyword]
    dates = headers.ChangedDates()
    assert len(dates.apply(forged, {"days": 1, "which": "all"})) == len(datasets)


@every_attack
def test_the_record_holds_nothing_of_the_patient(attack, datasets):
    for seed in range(6):
        text = json.dumps(attack.sample(datasets, np.random.default_rng(seed)))
        assert not [word for word in PATIENT if word in text]


def test_names_are_their_keys_and_no_names_of_other_attacks():
    from tamperscope import attacks

    every = headers.every()
    assert all(attack.name == name for name, attack in every.items())
    assert not every.keys() & (attacks.local().keys() | attacks.benign().keys())
