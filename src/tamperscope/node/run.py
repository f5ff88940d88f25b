"""The node as a whole: its processes, its lock, its figures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from tamperscope.errors import UsageError
from tamperscope.jobs import database, processes
from tamperscope.node import health, listener, parts
from tamperscope.node.config import Config
from tamperscope.node.parts import Parts

LOCK = "node.lock"


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
        with processes.alone(shared.config.folder / LOCK, "a node"):
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
        kept = [processes.Part(name, parts.run, (name, self.path)) for name in names]
        processes.watch(kept, parts.__name__, self.stop, partial(_restarted, shared))


def _restarted(shared: Parts, part: str, deaths: int) -> None:
    shared.audit.write("restarted", part=part, deaths=deaths)
