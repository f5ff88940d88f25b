"""``tamperscope datasets`` as its users call it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from datasets import fakes
from tamperscope.commands.datasets import app
from tamperscope.datasets import readers, table


def run(*arguments: object):
    """The command in this process: its result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def knees(tmp_path):
    folder = tmp_path / "knees"
    fakes.knee_severity_small(folder)
    return folder


@pytest.fixture
def mixed(tmp_path):
    """Six patients with an original and a forgery by each of two generators; no two pictures alike."""
    folder = tmp_path / "mixed"
    for number in range(6):
        fakes.picture(folder / f"real/P{number}/1.png", number)
        for offset, generator in ((10, "gan"), (20, "diffusion")):
            fakes.picture(folder / f"fake-{generator}/P{number}/1.png", number + offset)
    return folder


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()[1:]))


# --- list ---


def test_list_has_a_line_for_every_set():
    result = run("list")
    assert result.exit_code == 0
    header, *lines = result.stdout.splitlines()
    assert header.split()[0] == "name"
    assert [line.split()[0] for line in lines] == list(readers())


def test_list_as_json_tells_every_fact():
    facts = json.loads(run("list", "--json").stdout)
    assert [one["name"] for one in facts] == list(readers())
    gan = facts[0]
    assert gan["licence"] == "CC BY 4.0"
    assert any("6031" in trap for trap in gan["traps"])


def test_help_loads_nothing_heavy():
    script = "import sys, tamperscope.commands.datasets; print('numpy' in sys.modules, 'pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- check ---


def test_a_complete_set_is_0_with_its_traps(knees):
    result = run("check", "knee-severity", knees)
    assert result.exit_code == 0
    assert "8: 8 authentic, 0 forged" in result.stdout
    assert "trap        Left and right knee are one patient" in result.stdout
    assert result.stdout.splitlines()[-1] == "complete"


def test_an_incomplete_set_is_2_and_says_what_is_missing_and_where_to_get_it(tmp_path):
    fakes.ct_gan_small(tmp_path)
    (tmp_path / "1001" / "41.dcm").unlink()
    result = run("check", "ct-gan", tmp_path)
    assert result.exit_code == 2
    missing, state = result.stderr.splitlines()
    assert "41.dcm" in missing
    assert "doi:10.24432/C5J318" in state


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("check", "knee-severity", "gone"), "gone does not exist"),
        (("check", "knees", "."), "no data set is called 'knees'"),
        (("check", "btd", "."), "looked for CT/injection/CT_injection.csv"),
    ],
    ids=["no folder", "no such set", "another folder"],
)
def test_nothing_to_read_is_one_sentence_and_2(arguments, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tamperscope: ")
    assert what in line
    assert "Traceback" not in result.output


# --- manifest ---


def test_a_manifest_is_written_counted_and_read_again(knees, tmp_path):
    out = tmp_path / "new" / "manifest.csv"
    result = run("manifest", "knee-severity", knees, "--out", out, "--parts", "train=0.5,test=0.5", "--seed", 4)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    train, test, last = result.stdout.splitlines()
    assert train.split()[:3] == ["train", "2", "patients"]
    assert test.split()[0] == "test"
    manifest = table.read(out)
    assert str(manifest.about["rows_sha256"]) in last
    assert manifest.about["parts"] == {"train": 0.5, "test": 0.5}
    assert (manifest.about["dataset"], manifest.about["seed"], manifest.about["leaks"]) == ("knee-severity", 4, 0)
    assert run("check", "manifest", out).exit_code == 0


def test_a_generator_is_held_out(mixed, tmp_path):
    out = tmp_path / "m.csv"
    result = run("manifest", "folders", mixed, "--split", "generator=gan", "--out", out, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    used = {(row["part"], row["generator"]) for row in rows(out) if row["label"] == "forged" and row["part"]}
    assert used == {("train", "diffusion"), ("calibrate", "diffusion"), ("test", "gan")}


def test_a_scanner_that_scanned_everybody_cannot_be_held_out(tmp_path):
    fakes.ct_authentic(tmp_path / "ct")
    out = tmp_path / "m.csv"
    result = run("manifest", "ct-authentic", tmp_path / "ct", "--split", "scanner=tamperscope", "--out", out)
    assert result.exit_code == 2
    assert "nobody is left to train on" in result.stderr
    assert not out.exists()


def test_the_published_split_is_kept(tmp_path):
    fakes.knee_severity_one_size(tmp_path / "knees")
    out = tmp_path / "m.csv"
    assert run("manifest", "knee-severity", tmp_path / "knees", "--split", "published", "--out", out).exit_code == 0
    assert {row["patient"]: row["part"] for row in rows(out)} == {
        "9000001": "train",
        "9000002": "train",
        "9000003": "calibrate",
        "9000004": "test",
    }


def test_a_set_that_only_validates_is_put_into_one_part(mixed, tmp_path):
    out = tmp_path / "m.csv"
    assert run("manifest", "folders", mixed, "--part", "test", "--out", out).exit_code == 0
    assert {row["part"] for row in rows(out)} == {"test"}
    assert table.read(out).about["split"] == "part=test"


def test_a_file_splits_and_a_generator_is_held_out_of_that_split(mixed, tmp_path):
    (tmp_path / "s.json").write_text('{"train": ["P0", "P1"], "calibrate": ["P2"], "test": [], "rotation": ["test"]}')
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    done = run("manifest", "folders", mixed, "--split", f"file={tmp_path / 's.json'}", "--out", first)
    assert done.exit_code == 0, done.output
    assert str(tmp_path) not in first.read_text(), "the path of a split is nobody's affair"
    done = run("manifest", "manifest", first, "--split", "published", "--hold-out", "gan", "--out", second)
    assert done.exit_code == 0, done.output
    used = {(row["part"], row["generator"]) for row in rows(second) if row["part"]}
    forged = {("train", "diffusion"), ("calibrate", "diffusion"), ("test", "gan")}
    assert used == forged | {(part, "") for part in ("train", "calibrate", "test")}


def test_a_leaking_split_is_refused_unless_allowed(mixed, tmp_path):
    out = tmp_path / "m.csv"
    # The same picture of another person: one of the two would be trained on, the other tested with.
    for number in range(6):
        fakes.picture(mixed / f"real/P{number}/1.png", 99)
    refused = run("manifest", "folders", mixed, "--out", out)
    assert refused.exit_code == 2
    assert "the split leaks: the same file in two parts" in refused.stderr
    assert not out.exists()
    allowed = run("manifest", "folders", mixed, "--out", out, "--allow-leaks")
    assert allowed.exit_code == 0
    assert "leak: the same file in two parts" in allowed.stderr
    assert int(str(table.read(out).about["leaks"])) > 0


def test_near_duplicates_are_looked_for_unless_told_not_to(knees, tmp_path):
    from PIL import Image

    source = knees / "kl0/9000001L.png"
    Image.open(source).resize((80, 80)).save(knees / "kl4/9000004L.png")
    out = tmp_path / "m.csv"
    call = ("manifest", "knee-severity", knees, "--out", out, "--parts", "train=1,test=1", "--seed", 1)
    divided = {row.patient: row.part for row in _split(knees)}
    assert divided["9000001"] != divided["9000004"], "or the copy would be no leak"
    refused = run(*call)
    assert refused.exit_code == 2
    assert "the same picture in two parts" in refused.stderr
    assert run(*call, "--no-pixels").exit_code == 0
    assert table.read(out).about["pixels_compared"] is False


def _split(knees):
    from tamperscope.datasets import knee_severity, splits

    return splits.by_patient(knee_severity.entries(knees), {"train": 1, "test": 1}, seed=1)


def test_a_manifest_can_be_split_anew(knees, tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "deeper" / "second.csv"
    assert run("manifest", "knee-severity", knees, "--out", first, "--seed", 1).exit_code == 0
    assert run("manifest", "manifest", first, "--out", second, "--seed", 1).exit_code == 0
    assert rows(first) == rows(second)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--out", "m.xlsx"), "neither .csv nor .parquet"),
        (("--out", "m.csv", "--parts", "train"), "'train' is no share"),
        (("--out", "m.csv", "--parts", "train=0.5,exam=0.5"), "'exam=0.5' is no share"),
        (("--out", "m.csv", "--parts", "train=nan,test=1"), "'train=nan' is no share"),
        (("--out", "m.csv", "--parts", "train=1,train=2"), "'train=2' is no share"),
        (("--out", "m.csv", "--split", "luck"), "unknown split 'luck'"),
        (("--out", "m.csv", "--split", "generator="), "unknown split 'generator='"),
        (("--out", "m.csv", "--split", "generator=gan"), "no forgery by 'gan'"),
        (("--out", "m.csv", "--split", "published"), "without a split"),
        (("--out", "knees/kl0/9000001L.png/m.csv"), "cannot write"),
        (("--out", "m.csv", "--part", "exam"), "unknown part 'exam'"),
        (("--out", "m.csv", "--part", "test", "--split", "published"), "both --part test and --split published"),
        (("--out", "m.csv", "--hold-out", "gan"), "keeps the parts"),
        (("--out", "m.csv", "--split", "file=gone.json"), "gone.json is no split"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_call_is_one_sentence_and_2_and_writes_nothing(knees, options, what, monkeypatch):
    monkeypatch.chdir(knees.parent)
    result = run("manifest", "knee-severity", knees, *options)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert what in line
    assert [path.name for path in knees.parent.iterdir()] == ["knees"]


def test_parquet_without_pyarrow_names_the_extra(knees, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("manifest", "knee-severity", knees, "--out", tmp_path / "m.parquet")
    assert result.exit_code == 2
    assert "tamperscope[parquet]" in result.stderr
