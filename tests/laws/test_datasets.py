"""What every data set obeys: a digest for every file, no patient in two parts, errors that say the way out."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets import ct_authentic, ct_gan, manifest
from tamperscope.errors import InputError, TamperscopeError, UnreadableError
from tamperscope.records import Volume

SPLIT = {"train": ["P1"], "calibrate": ["P2"], "test": [], "rotation": ["train", "test"]}


def authentic(root: Path) -> None:
    """Two collections of three patients each, one of them with two series."""
    seed = 0
    for collection in ("first", "second"):
        for number in range(3):
            patient = f"P{number + 1 + 3 * (collection == 'second')}"
            for series in ("soft", "sharp") if patient == "P1" else ("",):
                seed += 1
                volume = phantom.chest((2, 16, 16), (2.5, 0.9, 0.9), np.random.default_rng(seed))
                phantom.write_dicom(volume, root / collection / patient / series)


def gan(root: Path) -> None:
    """Three scans with one tampered slice each, and an authentic place that is left out."""
    rows = ["type,uuid,slice,x,y"]
    for number, kind in enumerate(("FB", "FM", "FM", "TB")):
        volume = phantom.chest((1, 24, 20), (2.5, 0.9, 0.9), np.random.default_rng(number))
        (path,) = phantom.write_dicom(volume, root / str(1000 + number))
        path.rename(path.with_name(f"{number + 40}.dcm"))
        rows.append(f"{kind},{1000 + number},{number + 40},{5 + number},{9 + number}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def entries_of_gan(root: Path) -> tuple[manifest.Entry, ...]:
    paths = [(label.scan, label.path(root)) for label in ct_gan.labels(root)]
    return tuple(manifest.Entry(path, "ct-gan", scan, "", manifest.file_digest(path)) for scan, path in paths)


DATASETS = {
    "ct_authentic": (authentic, ct_authentic.entries, lambda root: ct_authentic.volumes(ct_authentic.entries(root))),
    "ct_gan": (gan, entries_of_gan, ct_gan.volumes),
}
every_dataset = pytest.mark.parametrize("name", DATASETS)


@pytest.fixture
def made(tmp_path, name):
    """The folder of the data set, filled."""
    DATASETS[name][0](tmp_path)
    return tmp_path


@every_dataset
def test_every_file_has_its_digest(made, name):
    entries = DATASETS[name][1](made)
    assert entries
    assert len({entry.path for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
        assert entry.patient in entry.path.parts


@every_dataset
def test_the_same_folder_gives_the_same_list(made, name):
    assert DATASETS[name][1](made) == DATASETS[name][1](made)


@every_dataset
def test_no_patient_is_in_two_parts(made, name):
    entries = DATASETS[name][1](made)
    parts = manifest.by_rotation((entry.patient for entry in entries), ("train", "calibrate", "test"))
    assert set(parts) == {entry.patient for entry in entries}
    manifest.check_disjoint(entries, parts)
    files = {part: {e.sha256 for e in entries if parts[e.patient] == part} for part in manifest.PARTS}
    assert sum(map(len, files.values())) == len({entry.sha256 for entry in entries})


@every_dataset
def test_a_split_from_a_file_places_every_patient_once(made, name):
    entries = DATASETS[name][1](made)
    path = made / "split.json"
    path.write_text(json.dumps(SPLIT), encoding="utf-8")
    parts = manifest.read_split(path, entries)
    assert {entry.patient for entry in entries} <= set(parts)
    assert (parts["P1"], parts["P2"]) == ("train", "calibrate")
    assert parts == manifest.read_split(path, reversed(entries)), "the order of the files must not matter"


@every_dataset
def test_one_picture_under_two_patients_of_different_parts_is_found(made, name):
    entries = DATASETS[name][1](made)
    first, other = entries[0], next(entry for entry in entries if entry.patient != entries[0].patient)
    shutil.copyfile(first.path, other.path)
    again = DATASETS[name][1](made)
    parts = {entry.patient: "train" for entry in again} | {other.patient: "test"}
    with pytest.raises(InputError, match=rf"{first.patient}|{other.patient}"):
        manifest.check_disjoint(again, parts)
    manifest.check_disjoint(again, dict.fromkeys(parts, "train"))


@every_dataset
def test_its_volumes_are_computed_tomography(made, name):
    found = list(DATASETS[name][2](made))
    assert found
    for _, volume in found:
        assert isinstance(volume, Volume)
        assert volume.modality == "CT"
        assert volume.geometry == "patient"


@every_dataset
@pytest.mark.parametrize("there", [True, False], ids=["an empty folder", "no folder"])
def test_nothing_there_is_an_error_that_names_the_folder(tmp_path, name, there):
    root = tmp_path / "absent"
    if there:
        root.mkdir()
    for read in DATASETS[name][1:]:
        with pytest.raises(UnreadableError, match="absent") as caught:
            list(read(root))
        assert caught.value.hint


@every_dataset
def test_a_damaged_file_is_an_error_that_names_it(made, name):
    path = DATASETS[name][1](made)[0].path
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(TamperscopeError, match=path.name):
        list(DATASETS[name][2](made))
