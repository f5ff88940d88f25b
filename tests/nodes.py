"""Nodes for tests: settings in a file, a listener in this process, and the tools of dcmtk as its peers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

import studies
from tamperscope.jobs.database import migrate
from tamperscope.node.listener import Listener
from tamperscope.node.parts import Parts

HERE = "127.0.0.1"
SENDER, NODE = "SENDER", "TAMPERSCOPE"
needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk is not installed")
BASE = f"""
[node]
folder = "node"
ae_title = "{NODE}"
[listener]
port = 0
free_bytes = 0
request_s = 1.0
[metrics]
port = 0
[[peer]]
ae_title = "{SENDER}"
hosts = ["{HERE}"]
"""


def settings(folder: Path, more: str = "", text: str = BASE) -> Path:
    """A node.toml in ``folder``."""
    path = folder / "node.toml"
    path.write_text(text + more, encoding="utf-8")
    return path


@contextmanager
def listening(path: Path) -> Iterator[tuple[Parts, int]]:
    """A listener by these settings, in threads of this process; gives its parts and its port."""
    parts = Parts.of(path)
    migrate(parts.engine)
    server = Listener(parts.config, parts.store, parts.audit).open()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield parts, server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10.0)
        parts.engine.dispose()


def free_port() -> int:
    """A port that nobody listens to at the moment."""
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


def ct(count: int, study: int = 1, series: int = 1, side: int = 16) -> list[Dataset]:
    """CT slices of one series."""
    root = f"{studies.ROOT}.{study}"
    made = []
    for index in range(count):
        dataset = studies.image("CT", studies.stored((side, side), 0, 2000, seed=index + 100 * study), index)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = root, f"{root}.{series}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{root}.{series}.{index + 1}"
        made.append(dataset)
    return made


def storescu(port: int, *paths: Path, calling: str = SENDER, called: str = NODE, more: tuple[str, ...] = ()):
    """Send files by dcmtk's storescu."""
    command = ["storescu", "-R", "-aet", calling, "-aec", called, "+sd", *more, HERE, str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def echoscu(port: int, calling: str = SENDER, called: str = NODE, more: tuple[str, ...] = ()):
    """C-ECHO by dcmtk."""
    command = ["echoscu", "-aet", calling, "-aec", called, *more, HERE, str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def phantom_series(folder: Path, shape: tuple[int, int, int] = (4, 256, 256), seed: int = 0) -> Path:
    """A chest phantom that the packaged models judge, as DICOM files."""
    from tamperscope import phantom

    phantom.write_dicom(phantom.chest(shape, (2.5, 1.4, 1.4), np.random.default_rng(seed)), folder)
    return folder


def until(condition: Callable[[], object], seconds: float = 60.0) -> object:
    """What the condition gives once it gives something."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        found = condition()
        if found:
            return found
        pause.wait(0.1)
    raise AssertionError("waited in vain")
