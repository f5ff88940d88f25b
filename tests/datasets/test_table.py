from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from datasets import fakes
from tamperscope.datasets import table
from tamperscope.datasets.manifest import Entry
from tamperscope.errors import (
    InputError,
    MissingExtraError,
    TamperscopeError,
    UnreadableError,
    UnsafePathError,
    UsageError,
)


@pytest.fixture
def root(tmp_path):
    fakes.manifest(tmp_path)
    return tmp_path


def own(root, text: str):
    """A table that somebody wrote by hand."""
    path = root / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


# --- round trip ---


def test_every_field_comes_back(root):
    read = table.read(root)
    assert [entry.part for entry in read.entries] == ["train", "calibrate", "test"]
    forged = read.entries[2]
    assert (forged.label, forged.generator, forged.mask) == ("forged", "wgan", root / "masks/2.png")
    assert forged.places == ((12, 5), (30, 31))
    assert (read.about["split"], read.about["seed"], read.about["files"]) == ("patient", 1, 3)
    assert read.root.resolve() == root.resolve()


def test_names_with_commas_quotes_and_letters_of_all_kinds_come_back(tmp_path):
    name = 'a, "b" ü 東.png'
    fakes.picture(tmp_path / name, 1)
    entry = Entry(tmp_path / name, "c;d", " Müller, A. ", "", "ab", scanner="GE, X")
    table.write(tmp_path / "m.csv", [entry], tmp_path)
    assert table.read(tmp_path / "m.csv", tmp_path).entries == (entry,)


def test_the_images_may_lie_elsewhere(root, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "images"
    listed = table.read(root).entries
    root.rename(moved)
    with pytest.raises(UnreadableError, match="own"):
        table.read(own(moved.parent, (moved / "manifest.csv").read_text(encoding="utf-8")), moved.parent)
    there = table.read(moved / "manifest.csv", moved)
    assert [replace(entry, path=entry.path.relative_to(moved), mask=None) for entry in there.entries] == [
        replace(entry, path=entry.path.relative_to(root), mask=None) for entry in listed
    ]


def test_parquet_comes_back_the_same(root):
    pytest.importorskip("pyarrow")
    listed = table.read(root).entries
    proof = table.write(root / "manifest.parquet", listed, root, {"seed": 3})
    read = table.read(root / "manifest.parquet", root)
    assert read.entries == listed
    assert (read.about["seed"], read.about["rows_sha256"]) == (3, proof)
    assert proof == table.read(root / "manifest.csv").about["rows_sha256"], "the rows are the same in both formats"


def test_parquet_without_pyarrow_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (
        lambda: table.check_target(root / "m.parquet"),
        lambda: table.write(root / "m.parquet", table.read(root).entries, root),
    ):
        with pytest.raises(MissingExtraError, match=r"tamperscope\[parquet\]"):
            call()


def test_other_formats_and_files_outside_are_refused(root):
    listed = table.read(root).entries
    with pytest.raises(UsageError, match=r"neither \.csv nor \.parquet"):
        table.write(root / "m.xlsx", listed, root)
    with pytest.raises(UsageError, match="lies outside"):
        table.write(root / "m.csv", listed, root / "images" / "deeper")


# --- tables by hand ---


def test_three_columns_are_enough_and_others_are_left_alone(root):
    path = own(root, "label,path,role,patient\nreal,images/0.png,twin,A\nFAKE,images/1.png,,B\n")
    first, second = table.entries(path)
    assert (first.label, second.label) == ("authentic", "forged")
    assert len(first.sha256) == 64


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("path,patient\nimages/0.png,A\n", "no column label"),
        ("path,patient,label\n", "lists no file"),
        ("path,patient,label\nimages/0.png,,real\n", "without path or patient"),
        ("path,patient,label\nimages/0.png,A,perhaps\n", "unknown label 'perhaps'"),
        ("path,patient,label,part\nimages/0.png,A,real,exam\n", "unknown part 'exam'"),
        ("path,patient,label,places\nimages/0.png,A,real,1 x\n", "'x' is no whole number"),
        ('# {"schema": "other"}\npath,patient,label\nimages/0.png,A,real\n', "first line"),
        ("# remark\npath,patient,label\nimages/0.png,A,real\n", "first line"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(root, text, what):
    with pytest.raises(UnreadableError, match=what) as caught:
        table.read(own(root, text))
    assert "own.csv" in str(caught.value)


def test_missing_files_are_counted_and_named(root):
    path = own(root, "path,patient,label\nimages/0.png,A,real\nimages/8.png,A,real\nimages/9.png,A,real\n")
    with pytest.raises(UnreadableError, match=r"2 of 3 files are missing .*8\.png, images/9\.png"):
        table.read(path)
    assert len(table.check(path).missing) == 2


def test_two_patients_with_one_key_are_refused(root):
    text = "path,patient,label,collection\nimages/0.png,7,real,first\nimages/1.png,7,real,second\n"
    with pytest.raises(InputError, match="first and second both have a patient 7"):
        table.read(own(root, text))


def test_a_file_twice_with_different_facts_is_refused(root):
    text = "path,patient,label\nimages/0.png,A,real\nimages/0.png,A,fake\n"
    with pytest.raises(InputError, match=r"images/0\.png twice"):
        table.read(own(root, text))


@pytest.mark.parametrize("name", ["../0.png", "/etc/hostname", "images/../../x"])
def test_a_row_cannot_leave_its_folder(root, name):
    for text in (f"path,patient,label\n{name},A,real\n", f"path,patient,label,mask\nimages/0.png,A,fake,{name}\n"):
        with pytest.raises(UnsafePathError, match="outside its folder"):
            table.read(own(root, text))


# --- proofs ---


def test_a_row_that_was_changed_is_found(root):
    path = root / "manifest.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",test,", ",train,"), encoding="utf-8")
    with pytest.raises(UnreadableError, match="not those that were written"):
        table.read(path)


def test_a_file_that_was_changed_is_found_when_it_is_read(root):
    fakes.picture(root / "images/0.png", 99)
    assert table.read(root).entries
    with pytest.raises(UnreadableError, match=r"1 files are not those .*0\.png"):
        table.entries(root)


def test_a_manifest_that_leaks_is_not_complete(root):
    text = "path,patient,label,part\nimages/0.png,A,real,train\nimages/1.png,A,real,test\n"
    findings = table.check(own(root, text))
    assert not findings.complete
    assert findings.missing == ()
    assert "patient A is in two parts" in findings.leaks[0]


def test_a_damaged_parquet_file_is_refused_by_name(root):
    pytest.importorskip("pyarrow")
    path = root / "m.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(TamperscopeError, match=r"m\.parquet"):
        table.read(path)
