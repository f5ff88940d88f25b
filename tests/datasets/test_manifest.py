from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tamperscope.datasets.manifest import (
    Entry,
    by_rotation,
    check_disjoint,
    digest,
    digested,
    file_digest,
    full_digest,
    read_split,
    to_csv,
)
from tamperscope.errors import InputError, UnreadableError


def entry(patient: str, sha256: str, name: str = "1.dcm", collection: str = "c") -> Entry:
    return Entry(Path("somewhere/private") / patient / name, collection, patient, "s", sha256)


ENTRIES = tuple(entry(f"P{number}", f"{number:064x}") for number in range(7))


def split(folder: Path, tree: object) -> Path:
    path = folder / "split.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def test_the_digest_is_that_of_the_set_whatever_its_order():
    assert digest(ENTRIES) == digest(reversed(ENTRIES))
    assert digest(ENTRIES) != digest(ENTRIES[1:])
    assert digest(ENTRIES) != digest((*ENTRIES[1:], entry("P0", "f" * 64)))
    assert len(digest(ENTRIES)) == 64


def test_the_full_digest_is_that_of_all_that_is_said(tmp_path):
    first = full_digest(ENTRIES)
    assert first == full_digest(reversed(ENTRIES))
    assert first == full_digest(replace(one, path=Path("elsewhere") / one.path.name) for one in ENTRIES)
    said = [{"label": "forged"}, {"part": "test"}, {"places": ((1, 2),)}, {"generator": "x"}, {"scanner": "y"}]
    found = [full_digest((replace(ENTRIES[0], **one), *ENTRIES[1:])) for one in said]
    for content in (b"one", b"two"):
        mask = tmp_path / f"{content.decode()}.png"
        mask.write_bytes(content)
        found.append(full_digest((replace(ENTRIES[0], mask=mask), *ENTRIES[1:])))
    found.append(full_digest((replace(ENTRIES[0], mask=tmp_path / "missing.png"), *ENTRIES[1:])))
    assert len({first, *found}) == len(found) + 1


def test_rotation_deals_the_names_out_in_turn():
    rotation = ("train", "train", "test")
    parts = by_rotation(["b", "a", "c", "b", "d"], rotation)
    assert parts == {"a": "train", "b": "train", "c": "test", "d": "train"}
    assert by_rotation(["d", "c", "b", "a"], rotation) == parts


def test_the_table_names_every_file_and_no_path_of_this_machine():
    text = to_csv(ENTRIES, {"P0": "train", "P1": "test"})
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["patient"] for row in rows] == [one.patient for one in ENTRIES]
    assert [row["part"] for row in rows[:3]] == ["train", "test", ""]
    assert rows[3]["sha256"] == ENTRIES[3].sha256
    assert rows[3]["file"] == "1.dcm"
    assert "private" not in text


def test_a_name_with_a_comma_stays_one_field():
    assert next(csv.DictReader(to_csv([entry("a, b", "0")], {}).splitlines()))["patient"] == "a, b"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UnreadableError, match=r"gone\.dcm"):
        file_digest(tmp_path / "gone.dcm")


def test_one_picture_may_stand_twice_in_one_part_but_not_in_two():
    twice = (entry("A", "1" * 64), entry("B", "1" * 64, "9.dcm"))
    check_disjoint(twice, {"A": "train", "B": "train"})
    with pytest.raises(InputError, match=r"9\.dcm is filed under A \(train\) and B \(test\)"):
        check_disjoint(twice, {"A": "train", "B": "test"})
    with pytest.raises(InputError):
        check_disjoint(twice, {"A": "train"})


def test_hands_go_before_the_rotation(tmp_path):
    path = split(tmp_path, {"train": ["P3"], "calibrate": [], "test": ["P0"], "rotation": ["calibrate", "test"]})
    parts = read_split(path, ENTRIES)
    assert (parts["P3"], parts["P0"]) == ("train", "test")
    assert [parts[name] for name in ("P1", "P2", "P4", "P5", "P6")] == [
        "calibrate",
        "test",
        "calibrate",
        "test",
        "calibrate",
    ]


def test_all_by_hand_needs_no_rotation_and_some_do(tmp_path):
    names = [one.patient for one in ENTRIES]
    tree = {"train": names[:4], "calibrate": names[4:5], "test": names[5:], "rotation": []}
    assert read_split(split(tmp_path, tree), ENTRIES)["P6"] == "test"
    with pytest.raises(InputError, match="P6"):
        read_split(split(tmp_path, tree | {"test": ["P5"]}), ENTRIES)


def test_a_patient_in_two_lists_is_refused(tmp_path):
    path = split(tmp_path, {"train": ["P1"], "calibrate": ["P1"], "test": [], "rotation": ["train"]})
    with pytest.raises(InputError, match="two parts"):
        read_split(path, ENTRIES)


def test_a_picture_under_two_patients_is_found_when_the_split_is_read(tmp_path):
    path = split(tmp_path, {"train": ["P0"], "calibrate": [], "test": ["P9"], "rotation": ["train"]})
    with pytest.raises(InputError, match="filed under"):
        read_split(path, (*ENTRIES, entry("P9", ENTRIES[0].sha256)))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"train": [], "calibrate": [], "test": [], "rotation": ["exam"]}', '{"train": []}'],
)
def test_what_is_no_split_is_refused_by_name(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"split\.json is no split"):
        read_split(path, ENTRIES)
    with pytest.raises(UnreadableError, match=r"gone\.json"):
        read_split(tmp_path / "gone.json", ENTRIES)


def test_digests_are_taken_of_every_file_and_of_each_once(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    listed = [Entry(tmp_path / name, "c", name, "", "") for name in ("a.png", "b.png", "a.png")]
    told = []
    found = digested(listed, lambda *what: told.append(what))
    assert [one.sha256 for one in found] == [file_digest(one.path) for one in listed]
    assert told[-1] == ("reading files", 2, 3)
    assert digested(found) == found
