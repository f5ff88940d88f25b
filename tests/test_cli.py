from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from builders import png
from signing import certificate, pem
from tamperscope import __version__, cli, phantom, report


def commands(group, before=()):
    """Every command below a group of click, as the words that call it."""
    for name, command in group.commands.items():
        yield (*before, name)
        yield from commands(command, (*before, name)) if hasattr(command, "commands") else ()


COMMANDS = ((), *commands(typer.main.get_command(cli.app)))


def run(*arguments: object):
    """The command in this process: its result has exit_code, stdout and stderr."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def shell(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a user starts it."""
    command = [sys.executable, "-m", "tamperscope", *map(os.fsencode, map(os.fspath, arguments))]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, check=False)


def code_of(tree: dict) -> int:
    """The exit code that the printed report asks for, from the table in the documents."""
    verdicts = {series["verdict"] for study in tree["studies"] for series in study["series"]}
    if not verdicts:
        return 2
    if "suspicious" in verdicts:
        return 1
    if "inconclusive" in verdicts:
        return 3
    return 4 if tree["failed"] else 0


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png(np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)))
    return path


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "chest"
    phantom.write_dicom(phantom.chest((2, 384, 384), (2.5, 0.9, 0.9), np.random.default_rng(1)), folder)
    return folder


# --- exit codes ---


def test_whom_to_trust_is_a_file_of_certificates(photo, tmp_path):
    assert run("scan", photo, "--json", "--trust", tmp_path / "nobody.pem").exit_code == 2
    (tmp_path / "ca.pem").write_bytes(pem(certificate("ca", "ca", issues=True)))
    assert run("scan", photo, "--json", "--trust", tmp_path / "ca.pem").exit_code == 3


def test_a_photo_is_inconclusive(photo, tmp_path):
    result = run("scan", photo, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert result.stdout.startswith("inconclusive  photo; a colour picture is not a radiograph")
    assert str(tmp_path / "out" / "report.html") in result.stdout
    assert result.stderr == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json",
        "report.csv",
        "report.html",
        "photo.png",
    }


def test_a_failed_input_does_not_hide_an_inconclusive_one(photo, tmp_path):
    result = run("scan", photo, tmp_path / "gone", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "failed" in result.stderr
    assert "no such file or folder" in result.stderr


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text", "empty file"])
def test_nothing_that_could_be_read_is_2(tmp_path, kind):
    path = tmp_path / "input"
    if kind == "empty folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("no image" if kind == "text" else "", encoding="utf-8")
    result = run("scan", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert "nothing could be read" in result.stderr
    assert "Traceback" not in result.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["failed"]


def test_a_chest_exits_with_the_code_of_its_report(chest, tmp_path):
    result = run("scan", chest, "--out", tmp_path / "out", "--heatmap", "--threads", 1)
    tree = json.loads((tmp_path / "out" / "report.json").read_text())
    assert result.exit_code == code_of(tree) != 2
    (series,) = tree["studies"][0]["series"]
    word = {"suspicious": "SUSPICIOUS", "no_evidence": "no evidence", "inconclusive": "inconclusive"}
    assert result.stdout.startswith(f"{word[series['verdict']]:<13} chest; probability ")
    assert (tmp_path / "out" / series["heatmap"]).is_file()


def test_a_failed_file_beside_a_chest_exits_with_the_code_of_the_report(chest, tmp_path):
    result = run("scan", chest, tmp_path / "gone", "--json", "--threads", 1)
    tree = json.loads(result.stdout)
    assert len(tree["failed"]) == 1
    assert result.exit_code == code_of(tree) != 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scan", "--nonsense", "x"],
        ["nonsense"],
        ["scan", "x", "--false-alarms", "0.5"],
        ["scan", "x", "--false-alarms", "0"],
        ["scan", "x", "--max-pixels", "0"],
        ["scan", "x", "--threads", "none"],
        [],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_2_with_a_word_on_how_to_call(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == [], "nothing was scanned or written"


def test_a_folder_that_cannot_be_written_is_one_sentence_and_2(photo, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    result = run("scan", photo, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tamperscope: cannot write ")
    assert line.endswith("(choose a folder that you may write to)")


def test_a_crash_does_not_exit_like_a_suspicion(monkeypatch, capsys):
    def crash() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "app", crash)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "RuntimeError: a bug" in capsys.readouterr().err


# --- what is printed ---


def test_json_prints_the_report_and_nothing_else(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("scan", photo, tmp_path / "gone", "--json")
    tree = json.loads(result.stdout)
    jsonschema.validate(tree, report.json.schema())
    assert result.stderr.splitlines() == [f"failed        {tree['failed'][0]['error']} (check the name)"]
    assert result.exit_code == code_of(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"], "no folder was asked for"


def test_json_and_a_folder_say_the_same(photo, tmp_path):
    result = run("scan", photo, "--json", "--out", tmp_path / "out")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))


def test_quiet_prints_nothing(photo, tmp_path):
    result = run("scan", photo, "--quiet", "--out", tmp_path / "out")
    assert (result.exit_code, result.output) == (3, "")
    assert (tmp_path / "out" / "report.json").is_file()


def test_without_out_the_folder_is_tamperscope_report(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("scan", photo).exit_code == 3
    assert (tmp_path / "tamperscope-report" / "report.html").is_file()


def test_the_modality_and_the_operating_point_reach_the_scan(photo, chest):
    (series,) = json.loads(run("scan", photo, "--json", "--modality", "CT").stdout)["studies"][0]["series"]
    assert series["modality"] == "CT"
    for rate in (0.1, 0.001):
        result = run("scan", chest, "--json", "--threads", 1, "--false-alarms", rate)
        (series,) = json.loads(result.stdout)["studies"][0]["series"]
        assert series["operating_point"]["false_positive_rate"] == rate


def test_a_limit_is_a_failure_that_names_it(photo):
    tree = json.loads(run("scan", photo, "--json", "--max-pixels", 10).stdout)
    assert "10" in tree["failed"][0]["error"]
    assert tree["studies"] == []


def test_the_model_can_be_chosen_and_an_unknown_one_is_a_usage_error(photo):
    tree = json.loads(run("scan", photo, "--json", "--model", "ct-noise").stdout)
    assert [model["name"] for model in tree["models"]] == ["ct-noise"]
    refused = run("scan", photo, "--json", "--model", "ct-best")
    assert refused.exit_code == 2
    assert "no model is called ct-best" in refused.stderr


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"tamperscope {__version__}\n")


def test_doctor_finds_this_installation_whole():
    result = run("doctor")
    assert result.exit_code == 0
    assert "FAIL" not in result.stdout
    assert all(line.startswith("ok  ") for line in result.stdout.splitlines())
    assert "ct-fast" in result.stdout


def test_doctor_exits_1_where_something_is_wrong(monkeypatch):
    monkeypatch.setattr("tamperscope.doctor.NEEDED_MEMORY", 2**60)
    result = run("doctor")
    assert result.exit_code == 1
    assert sum(line.startswith("FAIL") for line in result.stdout.splitlines()) == 1


def test_the_commands_are_those_of_the_documents():
    assert {("scan",), ("forge",), ("forge-set",), ("datasets", "manifest"), ("train", "ct-gan"), ("doctor",)} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_answers_for_every_command(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_the_help_of_scan_tells_the_exit_codes():
    text = " ".join(run("scan", "--help").stdout.split())
    assert "Exit codes: 0 no evidence of tampering; 1 at least one series is suspicious or was changed" in text
    assert "3 nothing suspicious" in text
    assert "4 some inputs failed" in text


# --- as a process ---


def test_as_a_process_json_is_utf_8_whatever_the_terminal_speaks(photo, tmp_path):
    odd = tmp_path / "bild-ü.png"
    odd.write_bytes(photo.read_bytes())
    result = shell("scan", odd, "--json", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (3, b"")
    assert json.loads(result.stdout.decode("utf-8"))["studies"][0]["source"] == str(odd)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 exist on Linux")
def test_as_a_process_names_that_are_no_text_or_act_on_the_terminal_are_told_harmlessly(tmp_path):
    names = [os.fsdecode(b"odd-\xff.dcm"), "red-\x1b[31m.dcm"]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    result = shell("scan", *names, folder=tmp_path, PYTHONUTF8="1")
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr
    assert b"\x1b" not in result.stderr + result.stdout
    assert result.stderr.count(b"failed") == 2


def test_as_a_process_no_progress_bar_goes_to_a_file(chest, tmp_path):
    result = shell("scan", chest, "--threads", "1", folder=tmp_path)
    assert result.returncode in (0, 1, 3)
    assert result.stderr == b""
    assert b"\r" not in result.stdout
    assert b"\x1b" not in result.stdout
