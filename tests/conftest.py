"""For all tests."""

from __future__ import annotations

import os

# Before torch is loaded: on a busy machine its threads spend nearly all their time waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
