"""Processes that belong together: started, started again when they die, and stopped in order; each knows its parent."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from tamperscope.errors import UsageError

LOOK_S = 0.5
LONGEST_PAUSE_S = 5.0
"""Before a process that dies again and again is started anew."""
STEADY_S = 10.0
"""A process that lived so long has not died again and again."""
FAREWELL_S = 60.0
"""For a study that is being judged; what is not done by then is done again after the next start."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is to do."""

    name: str
    target: Callable[..., None]
    args: tuple[Any, ...] = field(repr=False)


@dataclass(slots=True)
class _Kept:
    """One process, and how it has fared."""

    part: Part
    preload: str
    process: ForkServerProcess | None = None
    began: float = 0.0
    deaths: int = 0
    start_at: float = 0.0

    def look(self) -> bool:
        """Start it if it is due; True if it has died since the last look."""
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self._start()
            return False
        if self.process.is_alive():
            return False
        self.deaths = 1 if time.monotonic() - self.began > STEADY_S else self.deaths + 1
        self.start_at = time.monotonic() + min(0.5 * 2.0 ** (self.deaths - 1), LONGEST_PAUSE_S)
        self.process = None
        return True

    def _start(self) -> None:
        process = _context(self.preload).Process(
            target=self.part.target, args=self.part.args, name=f"tamperscope {self.part.name}"
        )
        self.began = time.monotonic()
        process.start()
        self.process = process  # not before: one that was not started cannot be ended


def watch(parts: Sequence[Part], preload: str, stop: threading.Event, restarted: Callable[[str, int], None]) -> None:
    """Keep a process for each part until ``stop`` is set, then end them.

    Args:
        parts: What the processes do.
        preload: The module that is imported before they are forked: one that dies is back at once.
        stop: Ends it.
        restarted: Told the part's name and how often it died in a row.
    """
    kept = [_Kept(part, preload) for part in parts]
    try:
        while True:
            for one in kept:
                if one.look():
                    restarted(one.part.name, one.deaths)
            if stop.wait(LOOK_S):
                return
    finally:
        _ended([one.process for one in kept if one.process is not None])


@cache
def _context(preload: str) -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


def _ended(processes: list[ForkServerProcess]) -> None:
    for process in processes:
        process.terminate()
    end = time.monotonic() + FAREWELL_S
    for process in processes:
        process.join(max(end - time.monotonic(), 0.0))
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file: two of ``what`` in one folder would sweep away each other's files.

    Raises:
        UsageError: another holds it.
    """
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "stop the other one first, or give this one a folder of its own"
            raise UsageError(f"{what} runs in {lock.parent} already", hint=hint) from error
        yield


def on_signals(stop: threading.Event) -> None:
    """Set ``stop`` when the process is asked to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread of its own: the handler may interrupt the very wait on ``stop``, which holds its lock.
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())


def child() -> threading.Event:
    """In a process of `watch`: the event that is set when it is told to stop, or its parent is gone."""
    stop, parent = threading.Event(), multiprocessing.parent_process()
    on_signals(stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tells the others

    def orphaned() -> None:
        # Not by the number of the parent: that is the fork server, which lives as long as any of its children.
        while parent is not None and not stop.wait(1.0):
            if not parent.is_alive():
                stop.set()

    threading.Thread(target=orphaned, daemon=True, name="parent").start()
    os.umask(0o077)  # what patients have had done to them is nobody else's business
    return stop
