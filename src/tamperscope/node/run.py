"""The node as a whole: starts its processes, starts them again when they die, and stops them in order."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from tamperscope.errors import UsageError
from tamperscope.jobs import database
from tamperscope.node import health, listener, parts
from tamperscope.node.config import Config
from tamperscope.node.parts import Parts

LOOK_S = 0.5
LONGEST_PAUSE_S = 5.0
"""Before a process that dies again and again is started anew."""
STEADY_S = 10.0
"""A process that lived so long has not died again and again."""
FAREWELL_S = 60.0
"""For a study that is being judged; what is not done by then is done again after the next start."""
LOCK = "node.lock"


@dataclass(slots=True)
class _Kept:
    """One process, and how it has fared."""

    part: str
    path: Path
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
        self.process = _context().Process(
            target=parts.run, args=(self.part, self.path), name=f"tamperscope {self.part}"
        )
        self.began = time.monotonic()
        self.process.start()


@dataclass(slots=True)
class Node:
    """A node by the configuration in a file."""

    path: Path
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, begun: Callable[[Config], None] = lambda _: None) -> None:
        """Until `stop` is set, or the process is told to end. ``begun`` is called when nothing stands in its way.

        Raises:
            UsageError: the configuration, the database or a port cannot be used, or the node runs already.
        """
        os.umask(0o077)
        shared = Parts.of(self.path)
        with _alone(shared.config.folder / LOCK):
            listener.free(shared.config)
            database.migrate(shared.engine)
            removed, adopted = shared.store.reconcile(0.0)
            shared.audit.write("started", partial_files_removed=removed, files_adopted=adopted)
            server = self._metrics(shared)
            begun(shared.config)
            try:
                self._watch(shared)
            finally:
                if server is not None:
                    server.shutdown()
                shared.audit.write("stopped")

    def _metrics(self, shared: Parts) -> WSGIServer | None:
        settings = shared.config.metrics
        if not settings.port:
            return None
        try:
            return health.serve(shared.config, shared.engine)
        except OSError as error:
            where = f"{settings.address}:{settings.port}"
            hint = "set another port under [metrics], or 0"
            raise UsageError(f"metrics cannot be served at {where}: {error.strerror}", hint=hint) from error

    def _watch(self, shared: Parts) -> None:
        names = ["listener", "keeper", "courier", *["judge"] * shared.config.model.workers]
        kept = [_Kept(name, self.path) for name in names]
        try:
            while True:
                for one in kept:
                    if one.look():
                        shared.audit.write("restarted", part=one.part, deaths=one.deaths)
                if self.stop.wait(LOOK_S):
                    return
        finally:
            _ended([one.process for one in kept if one.process is not None])


@cache
def _context() -> ForkServerContext:
    """Processes are forked from one that has everything imported: a listener that dies is back at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tamperscope.node.parts"])
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
def _alone(lock: Path) -> Iterator[None]:
    """Two nodes in one folder would sweep away each other's files."""
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "stop the other one first, or give this one a folder of its own"
            raise UsageError(f"a node runs in {lock.parent} already", hint=hint) from error
        yield


def on_signals(stop: threading.Event) -> None:
    """Set ``stop`` when the process is asked to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread of its own: the handler may interrupt the very wait on ``stop``, which holds its lock.
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
