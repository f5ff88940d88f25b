from __future__ import annotations

import sys

import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.errors import MissingExtraError
from tamperscope.train.board import Board


def test_without_tensorboard_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(MissingExtraError, match=r"tamperscope\[tensorboard\]"):
        Board(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_each_mean_stands_in_its_file(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path)
    board.note(2, {"loss": 0.5, "auroc": 0.75})
    board.note(4, {"loss": 0.25})
    board.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(2, 0.5), (4, 0.25)]
    assert [(event.step, event.value) for event in found.Scalars("auroc")] == [(2, 0.75)]
