from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamperscope.datasets import leaks, splits
from tamperscope.datasets.manifest import Entry
from tamperscope.errors import InputError, UsageError

SHARES: splits.Shares = {"train": 0.6, "calibrate": 0.2, "test": 0.2}


def entry(patient: str, name: str = "1", **facts) -> Entry:
    if facts.get("generator"):
        facts["label"] = "forged"
    return Entry(Path(patient) / f"{name}.png", "c", patient, "", f"{patient}/{name}", **facts)


def parts(divided) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in divided:
        found.setdefault(one.patient, set()).add(one.part)
    return found


# --- by patient ---


def test_patients_are_dealt_by_their_shares_in_every_stratum():
    listed = [entry(f"a{n}", grade="kl0") for n in range(50)] + [entry(f"b{n}", grade="kl4") for n in range(10)]
    divided = splits.by_patient(listed, SHARES, seed=5)
    count = Counter((one.grade, one.part) for one in divided)
    assert count == {
        ("kl0", "train"): 30,
        ("kl0", "calibrate"): 10,
        ("kl0", "test"): 10,
        ("kl4", "train"): 6,
        ("kl4", "calibrate"): 2,
        ("kl4", "test"): 2,
    }


def test_what_is_left_over_in_small_strata_evens_out():
    listed = [entry(f"{grade}{n}", grade=grade) for grade in "abcdefghij" for n in range(3)]
    count = Counter(one.part for one in splits.by_patient(listed, SHARES))
    assert count == {"train": 18, "calibrate": 6, "test": 6}


def test_files_of_one_patient_stay_together_whatever_they_are():
    listed = [entry(f"p{n}", str(k), generator="gan" if k else "") for n in range(20) for k in range(3)]
    assert all(len(found) == 1 for found in parts(splits.by_patient(listed, SHARES)).values())


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    listed = [entry(f"p{n}") for n in range(30)]
    assert splits.by_patient(listed, seed=1) == splits.by_patient(listed, seed=1)
    assert splits.by_patient(listed, seed=1) != splits.by_patient(listed, seed=2)


def test_shares_are_weights():
    listed = [entry(f"p{n}") for n in range(10)]
    count = Counter(one.part for one in splits.by_patient(listed, {"train": 4, "test": 1}))
    assert count == {"train": 8, "test": 2}


def test_no_part_stays_empty():
    listed = [entry(f"p{n}", grade=str(n)) for n in range(3)]
    assert {one.part for one in splits.by_patient(listed, SHARES)} == set(SHARES)


@given(st.lists(st.integers(0, 4), min_size=3, max_size=40), st.integers(0, 9))
def test_any_patients_are_split_without_a_leak(grades, seed):
    listed = [entry(f"p{n}", str(k), grade=str(grade)) for n, grade in enumerate(grades) for k in range(2)]
    divided = splits.by_patient(listed, SHARES, seed)
    assert leaks.find(divided, pixels=False) == ()
    assert {one.part for one in divided} == set(SHARES)


@pytest.mark.parametrize("shares", [{}, {"train": 0.0, "test": 1.0}, {"train": -1.0}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(UsageError, match="cannot split"):
        splits.by_patient([entry("a"), entry("b")], shares)


def test_fewer_patients_than_parts_are_refused():
    with pytest.raises(InputError, match="2 patients cannot fill 3 parts"):
        splits.by_patient([entry("a"), entry("b")], SHARES)


# --- one generator out ---


def forged(patients: int = 12) -> list[Entry]:
    """Patients with an original and a forgery by each of two generators."""
    made = [entry(f"p{n}", "real") for n in range(patients)]
    return made + [entry(f"p{n}", name, generator=name) for n in range(patients) for name in ("gan", "diffusion")]


def test_the_held_out_generator_is_all_of_the_test_and_none_of_the_rest():
    divided = splits.without_generator(forged(), "gan", SHARES, seed=3)
    used = {(one.part, one.generator) for one in divided if one.label == "forged"}
    assert used == {("train", "diffusion"), ("calibrate", "diffusion"), ("test", "gan"), ("", "gan"), ("", "diffusion")}
    assert leaks.find(divided, pixels=False) == ()
    assert {one.part for one in divided if one.label == "authentic"} == set(SHARES)


def test_patients_with_nothing_else_all_go_into_the_test():
    listed = forged() + [entry(f"only{n}", generator="gan") for n in range(5)]
    divided = splits.without_generator(listed, "gan", SHARES)
    assert {one.part for one in divided if one.patient.startswith("only")} == {"test"}


def test_a_forgery_of_nobody_knows_what_is_left_out():
    unknown = [entry(f"p{n}", "x", label="forged") for n in range(12)]
    divided = splits.without_generator([*forged(), *unknown], "gan", SHARES)
    assert {one.part for one in divided if one.path.stem == "x"} == {""}


def test_the_test_has_a_forgery_even_if_one_patient_holds_all():
    listed = [entry(f"p{n}", "real") for n in range(20)] + [entry("p7", "fake", generator="gan")]
    for seed in range(5):
        divided = splits.without_generator(listed, "gan", SHARES, seed)
        assert [one.part for one in divided if one.generator == "gan"] == ["test"]
        assert leaks.find(divided, pixels=False) == ()


def test_a_generator_is_held_out_for_a_test():
    with pytest.raises(UsageError, match="needs a test"):
        splits.without_generator(forged(), "gan", {"train": 1.0})


@pytest.mark.parametrize(("name", "what"), [("wgan", "no forgery by 'wgan'"), ("gan", "nobody is left")])
def test_a_generator_that_cannot_be_held_out_is_refused(name, what):
    with pytest.raises(InputError, match=what):
        splits.without_generator([entry(f"p{n}", generator="gan") for n in range(5)], name, SHARES)


# --- one scanner out ---


def scanned() -> list[Entry]:
    listed = [entry(f"g{n}", scanner="GE X") for n in range(8)] + [
        entry(f"s{n}", scanner="SIEMENS Y") for n in range(8)
    ]
    return [*listed, entry("both", "1", scanner="GE X"), entry("both", "2", scanner="SIEMENS Y"), entry("none")]


def test_the_held_out_scanner_is_all_of_the_test_and_none_of_the_rest():
    divided = splits.without_scanner(scanned(), "SIEMENS", SHARES)
    assert {(one.scanner, one.part) for one in divided} == {
        ("GE X", "train"),
        ("GE X", "calibrate"),
        ("GE X", ""),
        ("SIEMENS Y", "test"),
        ("", ""),
    }
    assert parts(divided)["both"] == {"test", ""}, "the scans of this patient on the other scanner are left out"
    assert parts(divided)["none"] == {""}, "it might be of the scanner that is held out"
    assert leaks.find(divided, pixels=False) == ()


@pytest.mark.parametrize("name", ["", "Philips"])
def test_a_scanner_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match="no file of scanner"):
        splits.without_scanner(scanned(), name, SHARES)


def test_a_scanner_that_scanned_everybody_cannot_be_held_out():
    with pytest.raises(InputError, match="nobody is left"):
        splits.without_scanner([entry(f"p{n}", scanner="GE") for n in range(5)], "GE", SHARES)


# --- parts that are given ---


def test_all_in_one_part():
    listed = (entry("a"), entry("b", generator="gan"))
    assert [one.part for one in splits.whole(listed, "test")] == ["test", "test"]


def test_a_file_places_the_patients(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a"], "calibrate": [], "test": ["b"], "rotation": []}', encoding="utf-8")
    assert [one.part for one in splits.from_file((entry("b"), entry("a")), path)] == ["test", "train"]
    with pytest.raises(InputError, match="places no c"):
        splits.from_file((entry("c"),), path)


def test_a_generator_held_out_moves_no_patient():
    listed = splits.whole((entry("a"), entry("a", generator="gan"), entry("a", generator="vae")), "train")
    listed += splits.whole((entry("b"), entry("b", generator="gan"), entry("b", generator="vae")), "test")
    parts = [one.part for one in splits.held_out(listed, "gan")]
    assert parts == ["train", "", "train", "test", "test", ""]
    with pytest.raises(InputError, match="no forgery by 'new' in the part test"):
        splits.held_out(listed, "new")
    with pytest.raises(InputError, match="without a split"):
        splits.held_out((entry("a"),), "gan")
