"""Files that must still be there after the lights went out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_ONCE = 16


def flush(paths: Iterable[Path]) -> None:
    """See that files, and folders with the names in them, are on the disk."""
    # A file system writes down in one go what is asked of it at once.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(_flush, paths):
            pass


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
