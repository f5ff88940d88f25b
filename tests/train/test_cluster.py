from __future__ import annotations

import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

from tamperscope.errors import MissingExtraError, TrainingError  # noqa: E402
from tamperscope.train.cluster import _cause, train_on_ray  # noqa: E402
from tamperscope.train.options import PictureInput, PlainCnn  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402

TRAINING = Training(steps=2, batch=4, save_every=2, validate=8)
PLAIN = Recipe("tiny", "plain-cnn", PlainCnn(2, 0.5), PictureInput(32), train=TRAINING)


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tamperscope\[ray\]"):
        train_on_ray(PLAIN, tmp_path / "run", 2)
    assert list(tmp_path.iterdir()) == []


def test_what_a_worker_raised_is_what_is_told():
    failed = RuntimeError("of Ray's own")
    failed.worker_failures = {1: TrainingError("the loss of step 1 is nan", hint="lower the rate")}
    assert str(_cause(failed)) == "the loss of step 1 is nan (lower the rate)"
    assert "Ray ended the training: no place" in str(_cause(RuntimeError("long story\nno place")))


@pytest.mark.filterwarnings("ignore")
def test_two_workers_train_one_model(tmp_path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    import sets
    from tamperscope.evaluate.baseline import read_baseline

    listed = sets.forged_set(tmp_path / "set", 4)
    model = train_on_ray(replace(PLAIN, manifest=listed), tmp_path / "run", 2)
    assert read_baseline(model.parent).training["workers"] == 2
