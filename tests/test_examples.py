"""What lies in examples/ runs; demo.py does in `make demo`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_a_model_of_ones_own_is_trained_and_judged_without_touching_the_package(tmp_path):
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_model.py")], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "own-model-out"
    assert json.loads((out / "run" / "model.json").read_text())["system"] == "own"
    figures = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert figures["model"] == "own-model"
    assert 0.0 <= figures["series"]["auroc"] <= 1.0
    assert "AUROC" in done.stdout
    (table,) = json.loads((out / "benchmark" / "leaderboard.json").read_text())["tables"]
    assert {row["model"]: row["state"] for row in table["rows"]} == {"own-model": "done", "ct-noise": "done"}
