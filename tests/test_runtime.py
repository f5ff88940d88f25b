from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from tamperscope import weights
weights.session(next(card for card in weights.packaged() if card.file), threads=1)
"""


def test_a_session_leaves_nothing_in_the_users_home(tmp_path):
    """From 1.32 on, ONNX Runtime keeps an identifier there, and sends events, unless it is told not to."""
    homes = {name: str(tmp_path / name) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")}
    for folder in homes.values():
        Path(folder).mkdir()
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, **homes})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
