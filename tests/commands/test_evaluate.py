from __future__ import annotations

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tamperscope import forge_set, phantom
from tamperscope.commands.evaluate import evaluate

app = typer.Typer(rich_markup_mode=None)
app.command()(evaluate)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    chest = phantom.chest((3, 256, 256), (2.5, 0.9, 0.9), np.random.default_rng(1))
    phantom.write_dicom(chest, folder / "study")
    (folder / "R.toml").write_text("[[forgery]]\nattack = 'inpaint'\n")
    forge_set.make([folder / "study"], folder / "R.toml", folder / "set")
    return folder / "set"


def test_it_evaluates_a_set_and_says_where_the_page_is(data, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [train] is not installed")
    result = run("--data", data, "--model", "ct-noise", "--out", tmp_path / "out", "--resamples", 0)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "1 forged and 1 authentic series, 0 refused"
    assert lines[1].startswith("AUROC")
    assert lines[-1] == f"Evaluation: {tmp_path / 'out' / 'evaluation.html'}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--model", "nobody"), "no model is called nobody"),
        (("--part", "test"), "no part 'test'"),
        (("--data", "nowhere"), "nowhere"),
        (("--against", "nowhere"), "nowhere holds no answers"),
        (("--slice-split", "nowhere"), "cannot read nowhere"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_2(data, tmp_path, change, words):
    result = run("--data", data, "--out", tmp_path / "out", *change)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
