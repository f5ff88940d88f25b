from __future__ import annotations

import shutil

import pytest

from datasets import fakes
from tamperscope.datasets import folders, join, splits, table
from tamperscope.errors import InputError, UnreadableError, UsageError


def manifest(folder, seed: int, part: str = "", patients: int = 2):
    """A set of an original and a forgery for each patient, and its manifest beside it."""
    for number in range(patients):
        fakes.picture(folder / f"real/{folder.name}{number}/1.png", seed + number)
        fakes.picture(folder / f"fake-gan/{folder.name}{number}/1.png", seed + 50 + number)
    listed = folders.entries(folder)
    path = folder.with_suffix(".csv")
    table.write(path, splits.whole(listed, part) if part else listed, folder)
    return path


def test_rows_follow_one_another_with_the_part_that_each_has(tmp_path):
    paths = [manifest(tmp_path / "a", 0, "test"), manifest(tmp_path / "b", 100, "test")]
    found = join.read(paths)
    assert [entry.patient for entry in join.entries(found, "test")] == [
        *(entry.patient for entry in table.read(paths[0]).entries),
        *(entry.patient for entry in table.read(paths[1]).entries),
    ]
    listed, root = join.rooted(join.entries(found))
    assert root == tmp_path.resolve()
    table.write(tmp_path / "all.csv", listed, root)
    assert len(table.read(tmp_path / "all.csv").entries) == len(listed)


def test_a_part_that_one_of_them_lacks_is_no_silent_omission(tmp_path):
    found = join.read([manifest(tmp_path / "a", 0, "test"), manifest(tmp_path / "b", 100)])
    with pytest.raises(UsageError, match=r"b has no part 'test': its parts are none .*--part test"):
        join.entries(found, "test")


def test_either_all_are_divided_or_none(tmp_path):
    paths = [manifest(tmp_path / "a", 0, "test"), manifest(tmp_path / "b", 100)]
    with pytest.raises(UsageError, match=r"no parts in .*b\.csv"):
        join.check_parts(paths, join.read(paths))
    join.check_parts(paths[1:], join.read(paths[1:]))


def test_a_file_counts_once_whatever_its_name(tmp_path):
    first = manifest(tmp_path / "a", 0)
    with pytest.raises(InputError, match=r"both list 1\.png"):
        join.read([first, first])
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    listed = folders.entries(tmp_path / "copy")
    table.write(tmp_path / "copy.csv", listed, tmp_path / "copy")
    with pytest.raises(InputError, match="the file would count twice"):
        join.read([first, tmp_path / "copy.csv"])


def test_a_patient_of_two_collections_is_refused(tmp_path):
    first = manifest(tmp_path / "a", 0)
    second = tmp_path / "own.csv"
    fakes.picture(tmp_path / "x.png", 7)
    second.write_text("path,patient,label,collection\nx.png,a0,forged,other\n", encoding="utf-8")
    with pytest.raises(InputError, match="both have a patient a0"):
        join.read([first, second])


def test_nothing_and_a_missing_manifest_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no manifest"):
        join.read([])
    with pytest.raises(UnreadableError, match="gone does not exist"):
        join.read([tmp_path / "gone"])
