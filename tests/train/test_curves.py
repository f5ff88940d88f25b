from __future__ import annotations

import io
import json

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [train] is not installed")

from PIL import Image

from tamperscope.train.curves import curves


def record(path, rows):
    lines = [{"settings": {}, "from": 0}, *rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


ROWS = [
    {"step": 100 * n, "seconds": n, "loss": 0.7 * 0.9**n, "auroc": 0.5 + 0.04 * n - 0.004 * n * n} for n in range(1, 9)
]


def test_each_measure_is_drawn_and_the_kept_step_marked(tmp_path):
    path = record(tmp_path / "record.jsonl", ROWS)
    plain, marked = (np.asarray(Image.open(io.BytesIO(curves(path, best)))) for best in (None, 500))
    assert plain.shape == marked.shape
    changed = np.flatnonzero((plain != marked).any(axis=(0, 2)))
    assert changed.min() > plain.shape[1] // 2, "the losses have no kept step"


def test_a_step_that_was_taken_twice_counts_once_and_a_torn_line_not_at_all(tmp_path):
    path = record(tmp_path / "record.jsonl", ROWS)
    whole = curves(path)
    again = record(tmp_path / "again.jsonl", [*ROWS[:4], {**ROWS[4], "loss": 9.0}, {"from": 4}, *ROWS[4:]])
    with again.open("a") as file:
        file.write('{"step": 900, "lo')
    assert curves(again) == whole


def test_without_a_line_there_is_nothing_to_draw(tmp_path):
    assert curves(tmp_path / "record.jsonl") is None
    assert curves(record(tmp_path / "record.jsonl", [])) is None
