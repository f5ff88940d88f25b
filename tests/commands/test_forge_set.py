from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tamperscope import phantom
from tamperscope.commands.forge_set import forge_set

app = typer.Typer(rich_markup_mode=None)
app.command()(forge_set)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def study(tmp_path) -> Path:
    folder = tmp_path / "study"
    phantom.write_dicom(phantom.chest((3, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(1)), folder)
    return folder


def recipe(folder: Path, *attacks: str) -> Path:
    path = folder / f"{len(attacks)}{attacks[0]}.toml"
    path.write_text("".join(f"[[forgery]]\nattack = '{attack}'\n" for attack in attacks), encoding="utf-8")
    return path


def test_it_makes_a_set_and_the_second_time_finds_it_made(study, tmp_path):
    call = (study, "--recipe", recipe(tmp_path, "inpaint", "denoise"), "--out", tmp_path / "out", "--jobs", 1)
    first, second = run(*call), run(*call)
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "3 items, 3 of them made now, 0 failures",
        f"Manifest: {tmp_path / 'out' / 'manifest.csv'}",
    ]
    assert second.stdout.startswith("3 items, 0 of them made now")


def test_what_failed_is_told_and_the_exit_code_is_4(study, tmp_path):
    result = run(
        study, "--recipe", recipe(tmp_path, "inpaint", "changed-dates"), "--out", tmp_path / "out", "--jobs", 1, "-q"
    )
    assert (result.exit_code, result.stdout) == (4, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("failed")
    assert "no Study Date" in line


def test_a_wrong_recipe_and_nothing_to_read_are_one_sentence_and_2(study, tmp_path):
    for call in (
        (study, "--recipe", recipe(tmp_path, "nonsense"), "--out", tmp_path / "out"),
        (study, "--recipe", tmp_path / "gone.toml", "--out", tmp_path / "out"),
        (tmp_path / "gone", "--recipe", recipe(tmp_path, "inpaint"), "--out", tmp_path / "out2"),
    ):
        result = run(*call)
        assert (result.exit_code, result.stdout) == (2, "")
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("tamperscope: ")


def test_the_help_tells_the_exit_codes():
    text = " ".join(run("--help").stdout.split())
    assert "Exit codes: 0 done; 2 usage error" in text
