from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import sets
from tamperscope import phantom
from tamperscope.commands import train

NO_TORCH = "import sys; sys.modules['torch'] = None; from tamperscope.commands.train import app; app(sys.argv[1:])"


def run(*arguments: object):
    return CliRunner().invoke(train.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "chest"
    phantom.write_dicom(phantom.chest((20, 128, 128), (2.5, 2.5, 2.5), np.random.default_rng(1)), folder)
    return folder


def test_without_torch_it_says_what_to_install(chest, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, "ct-gan", "--mode", "remove", str(chest), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'tamperscope[train]'" in done.stderr


def test_it_trains_either_mode_and_goes_on(chest, tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    small = ("--width", 2, "--cubes", 4, "--batch", 2, "--steps", 1, "--out", tmp_path)
    done = run("ct-gan", "--mode", "remove", chest, *small)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"Network: {tmp_path / 'ct-gan-remove.onnx'}"
    card = json.loads((tmp_path / "ct-gan-remove.json").read_text())
    assert card["training"]["volumes"] == 1
    assert str(chest) not in json.dumps(card)

    done = run("ct-gan", "--mode", "remove", chest, *small, "--steps", 2, "--quiet")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert json.loads((tmp_path / "ct-gan-remove.json").read_text())["training"]["steps"] == 2


def test_it_trains_an_injector_from_marks(chest, tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    marks = tmp_path / "marks.csv"
    marks.write_text("k,j,i\n10,64,36\n")
    small = ("--width", 2, "--cubes", 4, "--batch", 2, "--steps", 1, "--out", tmp_path / "run")
    done = run("ct-gan", "--mode", "inject", chest, "--marks", marks, *small)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run" / "ct-gan-inject.json").read_text())["training"]["recipe"]["drawn_share"] == 0


def test_what_cannot_be_used_is_named(tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    thin = tmp_path / "thin"
    phantom.write_dicom(phantom.chest((2, 64, 64), (2.5, 4.0, 4.0)), thin)
    done = run("ct-gan", "--mode", "remove", thin, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "none of the 1 series is a CT of at least 32 mm" in done.stderr
    done = run("ct-gan", "--mode", "remove", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Two patients, whose split is clean, and the one that leaks: the first patient's file is in both parts."""
    from dataclasses import replace

    from tamperscope.datasets import table
    from tamperscope.datasets.manifest import Entry, digested

    folder = tmp_path_factory.mktemp("set")
    listed = []
    for number, part in enumerate(("train", "test")):
        made = phantom.chest((20, 128, 128), (2.5, 2.5, 2.5), np.random.default_rng(number))
        phantom.write_dicom(made, folder / part)
        listed += [
            Entry(path, "phantoms", f"patient-{number}", "", "", modality="CT", part=part)
            for path in sorted((folder / part).iterdir())
        ]
    table.write(folder / "clean.csv", digested(listed), folder)
    table.write(folder / "leaking.csv", digested(replace(one, patient="patient-0") for one in listed), folder)
    return folder


def test_a_manifest_says_what_is_learned_from_and_must_not_leak(manifest, tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    small = ("--width", 2, "--cubes", 4, "--batch", 2, "--steps", 1, "--out", tmp_path / "run")
    done = run("ct-gan", "--mode", "remove", "--manifest", manifest / "leaking.csv", *small)
    assert done.exit_code == 2
    assert "patient patient-0 is in two parts" in done.stderr
    assert not (tmp_path / "run").exists()

    for name, options in (("leaking", ("--allow-leaks",)), ("clean", ())):
        folder = tmp_path / name
        done = run("ct-gan", "--mode", "remove", "--manifest", manifest / f"{name}.csv", *options, *small, "-o", folder)
        assert done.exit_code == 0, done.output
        assert json.loads((folder / "ct-gan-remove.json").read_text())["training"]["volumes"] == 1


def test_studies_or_a_manifest_but_one_of_them(chest, manifest, tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    for given in ((), (chest, "--manifest", manifest / "clean.csv")):
        done = run("ct-gan", "--mode", "remove", *given, "--out", tmp_path / "run")
        assert done.exit_code == 2
        assert "either studies or --manifest" in done.stderr


# --- recipes ---

PLAIN = """
name = "tiny"
system = "plain-cnn"
[net]
width = 2
[input]
side = 32
[augment]
flips = true
noise = 0.05
[train]
steps = 2
batch = 4
save_every = 1
validate = 4
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "R.toml"
    path.write_text(f'{PLAIN}[data]\nmanifest = "{sets.forged_set(tmp_path_factory.mktemp("set"), 4)}"\n')
    return path


def test_a_recipe_is_trained_without_naming_a_command(recipe, tmp_path):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    done = run(recipe, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"Model: {tmp_path / 'run' / 'model.json'}"
    assert json.loads((tmp_path / "run" / "model.json").read_text())["name"] == "tiny"
    again = run("--quiet", "--out", tmp_path / "run", recipe)
    assert (again.exit_code, again.stdout) == (0, "")


def test_a_dry_run_and_a_sheet_leave_no_run(recipe, tmp_path):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    sheet = tmp_path / "sheets" / "a.png"
    done = run(recipe, "--dry-run", "--show-augmentations", sheet)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == f"Augmentations: {sheet}"
    assert "minutes at most and" in done.stdout
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG"
    assert list(tmp_path.iterdir()) == [tmp_path / "sheets"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ct-gna", "--out", "run"), "ct-gna is no command and no recipe"),
        (("no.toml", "--out", "run"), "cannot read no.toml"),
        (("{recipe}",), "no folder for the run was named"),
        (("{recipe}", "--dry-run", "--data", "none.csv"), "none.csv"),
    ],
)
def test_what_is_no_recipe_or_names_nothing_is_told(recipe, arguments, why):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    done = run(*(str(one).format(recipe=recipe) for one in arguments))
    assert done.exit_code == 2
    assert why in done.stderr


def test_an_unknown_key_is_named_even_without_torch(tmp_path):
    path = tmp_path / "R.toml"
    path.write_text(PLAIN.replace("steps", "stpes"))
    command = [sys.executable, "-c", NO_TORCH, str(path), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown key 'stpes' in [train] (the known keys are steps," in done.stderr


def test_its_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom tamperscope.cli import app\ntry:\n    app(['train', '--help'])\nfinally:\n"
        "    assert not {'numpy', 'torch', 'scipy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "RECIPE.toml" in done.stdout
    assert "ct-gan" in done.stdout


OWN = """
import torch

def build(side):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 1))
"""


def test_a_network_of_ones_own_takes_the_place_of_the_recipes(recipe, tmp_path, monkeypatch):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    (tmp_path / "my_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    done = run(recipe, "--model", "my_module:build", "--out", "run")
    assert done.exit_code == 0, done.output
    model = json.loads((tmp_path / "run" / "model.json").read_text())
    assert (model["name"], model["system"]) == ("my_module-build", "own")
    assert model["training"]["recipe"]["augment"]["noise"] == 0.05
    assert model["input"]["side"] == 32


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--out", "run"), "nothing to train was named"),
        (("{recipe}", "--out", "run", "--data", "a.csv", "--data", "b.csv"), "2 manifests"),
        (("{recipe}", "--from", "a", "--add", "b.csv"), "--from goes with no recipe"),
        (("--from", "a", "--dry-run"), "--from goes with no recipe"),
        (("--from", "a", "--out", "run"), "say --from RUN --data OLD --add NEW --out"),
        (("--from", "ct-fast", "--data", "a.csv", "--add", "b.csv", "--out", "run"), "ct-fast is a Card"),
        (("--from", "nowhere", "--data", "a.csv", "--add", "b.csv", "--out", "run"), "cannot read"),
        (("{recipe}", "--model", "no_module:build", "--out", "run"), "makes no network"),
    ],
)
def test_what_does_not_go_together_is_told(recipe, tmp_path, monkeypatch, arguments, why):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    monkeypatch.chdir(tmp_path)
    done = run(*(str(one).format(recipe=recipe) for one in arguments))
    assert done.exit_code == 2
    assert why in done.stderr
    assert not (tmp_path / "run").exists()


def test_of_several_processes_the_first_speaks(recipe, monkeypatch):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    monkeypatch.setenv("RANK", "1")
    done = run(recipe, "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "")
