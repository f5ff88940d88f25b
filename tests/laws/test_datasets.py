"""What every data set obeys: a digest for every file, no patient in two parts, errors that say the way out."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from datasets.fakes import FAKES, Fake
from tamperscope.datasets import ct_authentic, ct_gan, images, leaks, manifest, readers, splits, table
from tamperscope.errors import InputError, TamperscopeError, UnreadableError
from tamperscope.records import Volume

READERS = readers()
SPLIT = {"train": ["P1"], "calibrate": ["P2"], "test": [], "rotation": ["train", "test"]}
VOLUMES = {
    "authentic CT": lambda root: ct_authentic.volumes(ct_authentic.entries(root)),
    "CT-GAN, small": ct_gan.volumes,
    "CT-GAN, UCI": ct_gan.volumes,
    "CT-GAN, Kaggle": ct_gan.volumes,
}

every_reader = pytest.mark.parametrize("name", READERS)
every_fake = pytest.mark.parametrize("fake", FAKES.values(), ids=FAKES.keys())
PROMISING = {name: fake for name, fake in FAKES.items() if fake.loss}
"""Layouts that say, or whose tables say, what has to be there."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each fake, made once; nobody changes it."""
    folders: dict[str, Path] = {}

    def make(fake: Fake) -> Path:
        key = fake.make.__name__
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp(key) / "set"
            folders[key].mkdir()
            fake.make(folders[key])
        return folders[key]

    return make


@pytest.fixture
def whole(made, fake: Fake) -> Path:
    """The folder of the data set, only to be looked at."""
    return made(fake)


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A copy of it, for tests that change something."""
    return shutil.copytree(whole, tmp_path / "set", symlinks=True)


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


# --- facts ---


def test_every_reader_has_a_generator_of_fake_data():
    assert {fake.name for fake in FAKES.values()} == set(READERS)


@every_reader
def test_every_fact_is_told(name):
    facts = READERS[name].FACTS
    assert facts.name == name
    assert name == name.lower().strip()
    for field in fields(facts):
        value = getattr(facts, field.name)
        if field.name != "generators":
            assert value, field.name
        for text in (value,) if isinstance(value, str) else value:
            assert text == text.strip()
            assert "\n" not in text
    assert all(trap.endswith(".") for trap in facts.traps)


@every_reader
def test_the_docstring_says_what_the_reader_was_checked_against(name):
    words = " ".join((READERS[name].__doc__ or "").split())
    if name not in ("folders", "manifest"):
        assert "hecked against" in words
    assert READERS[name].FACTS.checked_against


# --- entries ---


@every_fake
def test_every_file_has_its_digest(whole, fake):
    entries = READERS[fake.name].entries(whole)
    assert entries
    assert len({entry.path for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
        assert entry.path.is_relative_to(whole)


@every_fake
def test_every_entry_is_consistent(whole, fake):
    for entry in READERS[fake.name].entries(whole):
        assert entry.patient
        assert entry.collection
        assert entry.part in ("", *manifest.PARTS)
        assert entry.label in ("authentic", "forged")
        if entry.label == "authentic":
            assert (entry.generator, entry.mask, entry.places) == ("", None, ())
        else:
            assert entry.generator or entry.collection == "folders"
        assert entry.mask is None or entry.mask.is_file()
        height, width = images.planes(entry.path).shape[1:]
        for place in entry.places:
            assert len(place) in (2, 3)
            assert 0 <= place[-2] < height
            assert 0 <= place[-1] < width


@every_fake
def test_all_of_a_series_is_authentic_or_all_of_it_forged(whole, fake):
    labels: dict[tuple[str, str], set[str]] = {}
    for entry in READERS[fake.name].entries(whole):
        if entry.series and fake.name in ("ct-gan", "m3dsynth", "lidc-idri", "ct-authentic"):
            labels.setdefault((entry.patient, entry.series), set()).add(entry.label)
    assert all(len(found) == 1 for found in labels.values())


@every_fake
def test_the_same_folder_gives_the_same_list(whole, fake, tmp_path_factory):
    entries = READERS[fake.name].entries(whole)
    assert READERS[fake.name].entries(whole) == entries
    copied = tmp_path_factory.mktemp("copy") / "set"
    shutil.copytree(whole, copied, symlinks=False)
    there = {entry.path.relative_to(copied): entry for entry in READERS[fake.name].entries(copied)}
    for entry in entries:
        assert there[entry.path.relative_to(whole)].sha256 == entry.sha256


@every_fake
def test_every_picture_can_be_looked_at(whole, fake):
    for entry in READERS[fake.name].entries(whole):
        planes = images.planes(entry.path)
        assert planes.dtype == np.float32
        assert planes.ndim == 3
        assert np.isfinite(planes).all()
        assert planes.std() > 0


@every_fake
def test_progress_counts_the_files(whole, fake):
    seen: list[tuple[int, int]] = []
    entries = READERS[fake.name].entries(whole, lambda *told: seen.append(told[1:]))
    assert seen == [(number, len(entries)) for number in range(len(entries))]


# --- completeness ---


@every_fake
def test_a_whole_set_is_complete_and_counted(whole, fake):
    entries, findings = READERS[fake.name].entries(whole), READERS[fake.name].check(whole)
    if fake.short:
        assert all("pictures" in what for what in findings.missing)
        assert findings.missing
    else:
        assert findings.missing == ()
        assert findings.complete
    assert findings.files == len(entries)
    assert findings.patients == len({entry.patient for entry in entries})
    assert findings.forged == sum(entry.label == "forged" for entry in entries)
    assert findings.authentic == len(entries) - findings.forged
    assert set(findings.generators) == {entry.generator for entry in entries} - {""}


@pytest.mark.parametrize("fake", PROMISING.values(), ids=PROMISING.keys())
def test_what_is_promised_and_not_there_is_named(root, fake):
    before = READERS[fake.name].check(root).missing
    delete(root / fake.loss)
    findings = READERS[fake.name].check(root)
    assert not findings.complete
    new = [what for what in findings.missing if what not in before]
    assert new
    assert all(":" in what for what in new), "what, and the way out"


@every_reader
@pytest.mark.parametrize("there", [True, False], ids=["an empty folder", "no folder"])
def test_nothing_there_is_an_error_that_names_the_folder(tmp_path, name, there):
    root = tmp_path / "absent"
    if there:
        root.mkdir()
    for read in (READERS[name].entries, READERS[name].check):
        with pytest.raises(UnreadableError, match="absent") as caught:
            read(root)
        assert caught.value.hint


@every_fake
def test_a_damaged_image_is_an_error_that_names_it(root, fake):
    path = READERS[fake.name].entries(root)[0].path
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(TamperscopeError, match=path.name):
        images.planes(path)


@every_fake
@pytest.mark.parametrize("junk", [b"", b"\xff\xfe\x00\x01", b"a,b\n1,2\n", b"{}", b"<a/>"], ids=repr)
def test_a_damaged_table_raises_nothing_but_errors_of_the_project(root, fake, junk):
    for path in sorted(root.rglob("*")):
        if path.suffix not in (".csv", ".json", ".xml"):
            continue
        whole = path.read_bytes()
        path.write_bytes(junk)
        for read in (READERS[fake.name].entries, READERS[fake.name].check):
            with suppress(TamperscopeError):
                read(root)
        path.write_bytes(whole)


# --- splits ---


@every_fake
def test_no_patient_is_in_two_parts(whole, fake):
    entries = READERS[fake.name].entries(whole)
    parts = manifest.by_rotation((entry.patient for entry in entries), manifest.PARTS)
    assert set(parts) == {entry.patient for entry in entries}
    manifest.check_disjoint(entries, parts)
    divided = splits.by_patient(entries, seed=4)
    assert [replace(entry, part="") for entry in divided] == [replace(entry, part="") for entry in entries]
    assert {entry.part for entry in divided} == set(manifest.PARTS)
    assert leaks.find(divided) == ()


@every_fake
def test_a_split_does_not_depend_on_the_order_of_the_files(whole, fake):
    entries = READERS[fake.name].entries(whole)
    divided = splits.by_patient(entries, seed=1)
    assert set(splits.by_patient(reversed(entries), seed=1)) == set(divided)


@every_fake
def test_the_published_split_does_not_leak(whole, fake):
    listed = READERS[fake.name].entries(whole)
    if any(entry.part for entry in listed):
        assert leaks.find(splits.published(listed), pixels=False) == ()
    else:
        with pytest.raises(InputError, match="without a split"):
            splits.published(listed)


@every_fake
def test_a_split_from_a_file_places_every_patient_once(root, fake):
    entries = READERS[fake.name].entries(root)
    names = sorted({entry.patient for entry in entries})
    path = root / "split.json"
    path.write_text(json.dumps(SPLIT | {"train": names[:1], "calibrate": names[1:2]}), encoding="utf-8")
    parts = manifest.read_split(path, entries)
    assert set(names) <= set(parts)
    assert (parts[names[0]], parts[names[1]]) == ("train", "calibrate")
    assert parts == manifest.read_split(path, reversed(entries)), "the order of the files must not matter"


@every_fake
def test_one_picture_under_two_patients_of_different_parts_is_found(root, fake):
    divided = splits.by_patient(READERS[fake.name].entries(root))
    first = divided[0]
    other = next(entry for entry in divided if entry.part != first.part)
    shutil.copyfile(first.path, other.path)
    again = tuple(replace(entry, sha256=manifest.file_digest(entry.path)) for entry in divided)
    assert {leak.kind for leak in leaks.find(again, pixels=False)} == {"file"}
    with pytest.raises(InputError, match="the split leaks"):
        leaks.check(again, pixels=False)
    assert leaks.check(again, pixels=False, allow_leaks=True)
    parts = {entry.patient: entry.part for entry in again}
    with pytest.raises(InputError, match="filed under"):
        manifest.check_disjoint(again, parts)
    manifest.check_disjoint(again, dict.fromkeys(parts, "train"))


# --- manifests ---


@every_fake
def test_a_manifest_comes_back_as_it_was_written(whole, fake, tmp_path_factory):
    divided = splits.by_patient(READERS[fake.name].entries(whole), seed=2)
    path = tmp_path_factory.mktemp("elsewhere") / "manifest.csv"
    proof = table.write(path, divided, whole, {"seed": 2})
    read = table.read(path)
    assert [replace(entry, path=entry.path.resolve(), mask=None) for entry in read.entries] == [
        replace(entry, path=entry.path.resolve(), mask=None) for entry in divided
    ]
    assert (read.about["seed"], read.about["rows_sha256"]) == (2, proof)
    assert READERS["manifest"].check(path).complete
    assert str(whole) not in path.read_text(encoding="utf-8"), "no path of this machine"


# --- volumes ---


@pytest.mark.parametrize("layout", VOLUMES)
def test_its_volumes_are_computed_tomography(made, layout):
    found = list(VOLUMES[layout](made(FAKES[layout])))
    assert found
    for _, volume in found:
        assert isinstance(volume, Volume)
        assert volume.modality == "CT"
        assert volume.geometry == "patient"


@pytest.mark.parametrize("layout", VOLUMES)
def test_a_damaged_slice_is_an_error_that_names_it(tmp_path, layout):
    FAKES[layout].make(tmp_path)
    entries = READERS[FAKES[layout].name].entries(tmp_path)
    path = next((entry for entry in entries if entry.places), entries[0]).path
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(TamperscopeError, match=path.name):
        list(VOLUMES[layout](tmp_path))
