"""A command in a process of its own, which ends with the one that asked for it, and what it took.

    run ─ standard input ─▶ python -m tamperscope.suites.child USAGE.json COMMAND … ─▶ COMMAND …

The small process in between waits for the command, and ends it when its own standard input closes, as it does however
the asker ends. It also makes the peak memory that of the command: on Linux a new process counts as its own what the one
that started it had in memory until then (ru_maxrss outlives execve, see getrusage(2)), and the asker may be large.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """How a command ended, and what it took."""

    code: int
    """Its exit code; less than 0 is the signal that ended it."""
    seconds: float = 0.0
    peak_bytes: float = math.nan
    """Most memory it held at once; NaN where the system does not say."""


@dataclass(slots=True)
class Children:
    """The commands that run now: `end` ends them all, from another thread."""

    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    ended: bool = False
    """Whether `end` was called: what ended since then was ended by it."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Usage:
        """Run a command to its end; what it prints goes into ``log``."""
        report = log.with_suffix(".usage")
        report.unlink(missing_ok=True)
        between = [sys.executable, "-P", "-m", __name__, str(report), *command]
        with log.open("wb") as stream:
            process = self._started(between, stream.fileno(), environment)
            if process is None:
                return Usage(-signal.SIGTERM)
            try:
                code = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                _close(process)
        found = _read(report) or Usage(code or 1)
        report.unlink(missing_ok=True)
        return found

    def end(self) -> None:
        """End what runs, and let nothing start any more."""
        with self._lock:
            self.ended = True
            for process in self._running:
                _close(process)

    def _started(
        self, command: Sequence[str], output: int, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self.ended:
                return None
            process = subprocess.Popen(  # noqa: S603  our own command line
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, env={**os.environ, **environment}
            )
            self._running.add(process)
            return process


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _read(report: Path) -> Usage | None:
    try:
        return Usage(**json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def main(report: str, *command: str) -> None:
    """The process in between."""
    # Ctrl-C reaches all processes of a terminal; this one waits to be told. The command does not inherit a function.
    signal.signal(signal.SIGINT, lambda *_: None)
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    # Who ends the asker's whole group ends this process first, and must not leave the command behind.
    signal.signal(signal.SIGTERM, lambda *_: _end(process))
    threading.Thread(target=_end_with_asker, args=(process,), daemon=True).start()
    code, peak = _waited(process)
    usage = {"code": code, "seconds": time.monotonic() - started, "peak_bytes": peak}
    Path(report).write_text(json.dumps(usage), encoding="utf-8")


def _waited(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    if sys.platform == "win32":
        return process.wait(), math.nan
    _, status, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), float(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _end_with_asker(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it started itself


if __name__ == "__main__":
    main(*sys.argv[1:])
