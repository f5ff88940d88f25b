from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.attacks.network import SCHEMA, Network  # noqa: E402
from tamperscope.errors import WeightsError  # noqa: E402
from tamperscope.train import publish as module  # noqa: E402
from tamperscope.train.publish import publish  # noqa: E402

INPUTS = {"x": torch.ones(1, 4), "y": torch.full((1, 4), 2.0)}


class Sum(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(4, 4)

    def forward(self, x, y):
        return self.mix(x) + y


def test_the_pair_of_files_is_what_an_attack_runs(tmp_path):
    folder = tmp_path / "new" / "folder"
    difference = publish(Sum(), "sum", folder, INPUTS, {"what": "a sum", "training": {"steps": 0}})
    assert 0.0 <= difference < 1e-3
    card = json.loads((folder / "sum.json").read_text(encoding="utf-8"))
    assert card["schema"] == SCHEMA
    assert card["what"] == "a sum"
    assert card["sha256"] == hashlib.sha256((folder / "sum.onnx").read_bytes()).hexdigest()
    answer = Network("sum", folder).run(x=np.ones((1, 4), np.float32), y=np.zeros((1, 4), np.float32))
    assert answer.shape == (1, 4)


def test_a_file_that_answers_otherwise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(WeightsError, match="from torch"):
        publish(Sum(), "sum", tmp_path, INPUTS, {})


def test_a_file_larger_than_what_ships_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BYTES", 10)
    with pytest.raises(WeightsError, match="10 at most ship"):
        publish(Sum(), "sum", tmp_path, INPUTS, {})
