from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tamperscope.commands import models
from tamperscope.evaluate import store


def run(*arguments: object):
    return CliRunner().invoke(models.app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))


@pytest.fixture
def trained(tmp_path):
    pytest.importorskip("onnx", reason="the extra [train] is not installed")
    import baselines

    folder = baselines.mean_model(tmp_path / "run")
    tree = json.loads((folder / "model.json").read_text())
    tree["training"]["difference_to_torch"] = 0.0
    (folder / "model.json").write_text(json.dumps(tree))
    return folder


def test_the_packaged_ones_are_listed_and_shown():
    done = run("list")
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ct-accurate", "ct-fast", "ct-noise", "knee"]
    shown = run("show", "ct-fast")
    assert shown.stdout.startswith("# ct-fast, version")


def test_a_training_is_imported_listed_and_shown(trained):
    done = run("import", trained)
    assert done.exit_code == 0, done.output
    assert "evaluate --model mean judges with it. scan does not" in done.stdout
    assert "mean" in run("list").stdout.splitlines()[-1]
    for name in ("mean", trained):
        assert run("show", name).stdout.startswith("# mean\n")
    again = run("import", trained)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert run("import", trained, "--as", "other").exit_code == 0
    assert run("import", trained, "--force").exit_code == 0


def test_what_is_no_model_is_named():
    done = run("show", "nothing")
    assert done.exit_code == 2
    assert "no model is called nothing (there are ct-accurate, ct-fast, ct-noise, knee)" in done.stderr
    assert run("import", "nowhere").exit_code == 2
