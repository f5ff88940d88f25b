from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from studies import image, stored, write
from tamperscope import phantom
from tamperscope.commands.forge import forge

app = typer.Typer(rich_markup_mode=None)
app.command()(forge)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "study"
    phantom.write_dicom(phantom.chest((3, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(1)), folder)
    return folder


def test_it_makes_what_is_asked_for_and_says_so(study, tmp_path):
    out = tmp_path / "out"
    result = run(
        study, "--attack", "ct-gan-blend", "--mode", "remove", "--then", "denoise", "--count", 2, "--seed", 7,
        "--at", "88,70,1", "--twin", "--out", out,
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split(";")[0] for line in lines[:4]] == [
        "twin-ct-gan-blend-remove+denoise-1",
        "forged-ct-gan-blend-remove+denoise-1",
        "twin-ct-gan-blend-remove+denoise-2",
        "forged-ct-gan-blend-remove+denoise-2",
    ]
    assert "at 88,70,1" in lines[1]
    assert "voxels changed in" in lines[1]
    assert str(out) in lines[4]
    assert {path.name for path in out.iterdir()} > {"forged-ct-gan-blend-remove+denoise-2.mask.nii.gz"}


def test_a_record_is_replayed(study, tmp_path):
    assert run(study, "--attack", "inpaint", "--out", tmp_path / "a", "--quiet").output == ""
    record = tmp_path / "a" / "forged-inpaint-1.json"
    result = run(study, "--replay", record, "--out", tmp_path / "b")
    assert result.exit_code == 0
    assert (tmp_path / "b" / record.name).read_bytes() == record.read_bytes()


def test_a_donor_and_millimetres_are_understood(study, tmp_path):
    donor = tmp_path / "donor"
    phantom.write_dicom(phantom.chest((3, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(2)), donor)
    result = run(study, "--attack", "splice", "--donor", donor, "--at", "68.6,18.2,0mm", "--out", tmp_path / "out")
    assert result.exit_code == 0
    record = json.loads((tmp_path / "out" / "forged-splice-1.json").read_text())
    assert record["place"]["index"] == [1, 70, 88]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what to do"),
        (["--attack", "inpaint", "--replay", "x.json"], "say what to do"),
        (["--attack", "nonsense"], "the known ones are"),
        (["--attack", "ct-gan-blend"], "--mode"),
        (["--attack", "splice"], "--donor"),
        (["--attack", "inpaint", "--at", "0,0,0"], "outside the body"),
        (["--attack", "inpaint", "--at", "500,0,0"], "outside the volume"),
        (["--attack", "inpaint", "--at", "somewhere"], "is no place"),
        (["--attack", "denoise", "--at", "88,70,1"], "no single place"),
        (["--attack", "inpaint", "--series", "1.2.3"], "no series 1.2.3"),
        (["--attack", "inpaint", "--spacing", "1"], "states its spacing"),
        (["--attack", "changed-dates"], "no Study Date"),
        (["--replay", "gone.json"], "cannot read"),
        (["--attack", "inpaint", "--donor", "gone"], "no such file"),
        (["--attack", "inpaint", "--max-pixels", "10"], "10 are allowed"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence_and_2_and_nothing_is_written(study, tmp_path, arguments, words):
    result = run(study, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tamperscope: ")
    assert words in line
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--seed", "-1"], ["--nonsense"]], ids=str)
def test_a_wrong_call_is_2_with_a_word_on_how_to_call(study, tmp_path, arguments):
    result = run(study, "--out", tmp_path / "out", "--attack", "inpaint", *arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_a_folder_that_is_not_empty_and_one_in_the_input_are_refused(study, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path, study / "out"):
        result = run(study, "--attack", "inpaint", "--out", out)
        assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_several_series_are_listed(study, tmp_path):
    other = write([image("CT", stored((8, 8), 0, 9))], tmp_path / "other")
    result = run(study, other, "--attack", "inpaint", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "--series" in result.stderr
    assert "Secret" not in result.stderr


def test_the_help_tells_how_to_name_a_place():
    text = " ".join(run("--help").stdout.split())
    assert "210,180,64" in text
    assert "mm" in text
