from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

import baselines
from tamperscope.errors import UsageError, WeightsError
from tamperscope.evaluate import evaluation, store
from tamperscope.evaluate.baseline import MODEL
from tamperscope.evaluate.systems.pictures import NETWORK


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def run(tmp_path) -> Path:
    folder = baselines.mean_model(tmp_path / "run")
    say(folder, difference_to_torch=2e-6)
    (folder / "record.jsonl").write_text("{}\n")
    return folder


def say(folder: Path, **facts: object) -> None:
    tree = json.loads((folder / MODEL).read_text())
    tree["training"] |= facts
    (folder / MODEL).write_text(json.dumps(tree))


def test_an_imported_model_is_found_by_its_name(run, home, tmp_path):
    assert store.names() == ()
    assert store.add(run) == "mean"
    assert store.names() == ("mean",)
    assert {path.name for path in (home / "mean").iterdir()} == {MODEL, NETWORK}
    assert [path.name for path in home.iterdir()] == ["mean"], "nothing is left beside it"
    asked = evaluation.Asked("mean", tmp_path, tmp_path)
    tested, sha256 = evaluation.chosen(asked)
    assert tested.name == "mean"
    assert len(sha256) == 64
    with pytest.raises(UsageError, match=r"no model is called other .*ct-noise, knee, mean; or"):
        evaluation.chosen(evaluation.Asked("other", tmp_path, tmp_path))


def test_a_taken_name_is_refused_unless_forced(run, home):
    store.add(run / MODEL)
    say(run, steps=9)
    with pytest.raises(UsageError, match=r"there is a model mean .*--force"):
        store.add(run)
    assert store.add(run, "mean-2") == "mean-2"
    assert store.add(run, force=True) == "mean"
    assert json.loads((home / "mean" / MODEL).read_text())["training"]["steps"] == 9
    assert sorted(path.name for path in home.iterdir()) == ["mean", "mean-2"]


@pytest.mark.parametrize("name", ["../mean", "a/b", ".hidden", "", "ct-fast", "a b"])
def test_what_can_be_no_name_is_refused(run, home, name):
    say(run, best={})
    tree = json.loads((run / MODEL).read_text())
    (run / MODEL).write_text(json.dumps({**tree, "name": name}))
    with pytest.raises(UsageError, match=r"cannot be a name|comes with the package"):
        store.add(run)
    assert not home.exists()


def test_weights_to_go_on_from_come_along_if_they_are_the_recorded_ones(run, home):
    import hashlib

    (run / store.WEIGHTS).write_bytes(b"weights")
    store.add(run, "without")
    say(run, best_sha256=hashlib.sha256(b"weights").hexdigest())
    store.add(run, "with")
    assert [(home / name / store.WEIGHTS).exists() for name in ("without", "with")] == [False, True]


def test_what_is_damaged_unproven_or_may_be_a_pickle_is_refused(run, home):
    (run / "old").mkdir()
    (run / "old" / "model.PT").write_bytes(b"\x80\x02.")
    with pytest.raises(WeightsError, match="may be a pickle"):
        store.add(run)
    (run / "old" / "model.PT").unlink()
    for parity in (None, 0.01, float("nan")):
        say(run, difference_to_torch=parity)
        with pytest.raises(WeightsError, match="does not record that its file answers"):
            store.add(run)
    say(run, difference_to_torch=0.0)
    (run / NETWORK).write_bytes(b"another")
    with pytest.raises(WeightsError, match="the model promises"):
        store.add(run)
    (run / MODEL).unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        store.add(run)
    with pytest.raises(UsageError, match="is no training"):
        store.add(run / "record.jsonl")
    assert not home.exists()


def test_a_store_that_cannot_be_written_is_told(run, home):
    home.write_text("a file")
    with pytest.raises(UsageError, match=f"cannot write .*{store.VARIABLE}"):
        store.add(run)
    assert home.read_text() == "a file"


def test_the_store_is_where_users_keep_data(monkeypatch, tmp_path):
    monkeypatch.delenv(store.VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store.home() == tmp_path / "tamperscope" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.home() == tmp_path / ".local" / "share" / "tamperscope" / "models"


def test_a_model_is_described_for_people(run):
    text = store.described(run)
    assert text.startswith("# mean\n")
    assert "| May judge | CT |" in text
    assert "| Steps | 3 |" in text
    assert "| Difference to torch | 2e-06 |" in text
    assert "just above the highest of 20 authentic series" in text
