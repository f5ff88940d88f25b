"""``tamperscope datasets align | slices | join`` as their users call them."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from datasets import fakes
from sets import forged_set
from tamperscope.commands.datasets import app
from tamperscope.datasets import folders, splits, table


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def manifest(folder, kind: str, part: str, seed: int, side: int = 40):
    for number in range(3):
        fakes.picture(folder / f"{kind}/{folder.name}{number}/1.png", seed + number, side)
    listed = folders.entries(folder)
    path = folder.with_suffix(".csv")
    table.write(path, splits.whole(listed, part) if part else listed, folder)
    return path


@pytest.fixture
def pair(tmp_path):
    return [manifest(tmp_path / "a", "real", "test", 0), manifest(tmp_path / "b", "fake-gan", "test", 50, 32)]


def test_two_sets_are_aligned_and_counted(pair, tmp_path):
    result = run("align", *pair, "--contrast", "match", "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    counts, last = result.stdout.splitlines()
    assert counts.split() == ["test", "6", "patients", "3", "authentic", "3", "forged", "files"]
    assert last == f"Manifest: {tmp_path / 'out' / 'manifest.csv'}"
    assert run("check", "manifest", tmp_path / "out").exit_code == 0
    quiet = run("align", *pair, "--side", 16, "--out", tmp_path / "small", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_slices_of_a_forged_set(tmp_path):
    made = forged_set(tmp_path, patients=2)
    result = run("slices", made, "--split", "slice", "--most", 2, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == f"Manifest: {tmp_path / 'out' / 'manifest.csv'}"
    assert len(table.read(tmp_path / "out").entries) == 8


def test_manifests_are_joined_where_their_files_lie(pair, tmp_path):
    out = tmp_path / "deep" / "all.csv"
    result = run("join", *pair, "--out", out)
    assert (result.exit_code, result.stderr) == (0, "")
    joined = table.read(out)
    assert {entry.path.resolve() for entry in joined.entries} == {
        entry.path.resolve() for path in pair for entry in table.read(path).entries
    }
    assert len(table.entries(out)) == 6, "the digests are kept, and right"
    assert joined.about["of"] == [table.read(path).about["rows_sha256"] for path in pair]
    # A manifest moves with its files, as any other.
    shutil.move(tmp_path, tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert len(table.entries(tmp_path.with_name(f"{tmp_path.name}-moved") / "deep" / "all.csv")) == 6


def test_one_patient_in_two_parts_is_refused_unless_allowed(pair, tmp_path):
    other = tmp_path / "other.csv"
    fakes.picture(tmp_path / "a" / "more.png", 99)
    other.write_text("path,collection,patient,label,part\na/more.png,folders,a0,forged,train\n", encoding="utf-8")
    refused = run("join", pair[0], other, "--out", tmp_path / "all.csv")
    assert refused.exit_code == 2
    assert "patient a0 is in two parts" in refused.stderr
    assert not (tmp_path / "all.csv").exists()
    allowed = run("join", pair[0], other, "--out", tmp_path / "all.csv", "--allow-leaks")
    assert allowed.exit_code == 0
    assert "leak: patient a0" in allowed.stderr


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("align", "a.csv", "--out", "out"), "all 3 pictures are authentic"),
        (("align", "a.csv", "b.csv", "--contrast", "loud", "--out", "out"), "unknown contrast 'loud'"),
        (("align", "a.csv", "gone", "--out", "out"), "gone does not exist"),
        (("align", "a.csv", "b.csv", "--parts", "exam=1", "--out", "out"), "is no share of a part"),
        (("slices", "b.csv", "--out", "out"), "has no mask"),
        (("slices", "b.csv", "--split", "luck", "--out", "out"), "unknown split by 'luck'"),
        (("join", "a.csv", "a.csv", "--out", "all.csv"), "would count twice"),
        (("join", "a.csv", "c.csv", "--out", "all.csv"), "no parts in c.csv"),
        (("join", "a.csv", "--out", "all.txt"), "neither .csv nor .parquet"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("pair")
def test_a_wrong_call_is_one_sentence_and_2_and_writes_nothing(tmp_path, call, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest(tmp_path / "c", "real", "", 200)
    result = run(*call)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("all.*"))
