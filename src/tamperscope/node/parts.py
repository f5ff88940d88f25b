"""The processes of a node, each of which may die and comes back: listener, keeper, workers, courier."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Engine, func, select

from tamperscope.errors import TamperscopeError
from tamperscope.jobs import database
from tamperscope.jobs.deliver import Courier
from tamperscope.jobs.queue import Job, Queue
from tamperscope.jobs.tables import INSTANCES
from tamperscope.jobs.worker import Worker
from tamperscope.node import config as configuration
from tamperscope.node import store
from tamperscope.node.analysis import Analysis
from tamperscope.node.audit import Audit
from tamperscope.node.config import Config
from tamperscope.node.intake import FolderWatcher, OrthancPoller
from tamperscope.node.listener import Listener, context_of
from tamperscope.node.store import Store

ANALYSIS_TRIES = 4
"""A study that killed its worker so often is a dead letter."""
LOOK_S = 1.0
SWEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the processes share: settings, database, store, audit log."""

    config: Config
    engine: Engine
    store: Store
    audit: Audit

    @classmethod
    def of(cls, path: Path) -> Parts:
        """As the configuration in a file says.

        Raises:
            UsageError: the file or the database cannot be used.
        """
        config = configuration.read(path)
        config.folder.mkdir(parents=True, exist_ok=True)
        engine = database.connect(config.database)
        kept = Store(config.folder, engine, config.listener.free_bytes)
        kept.prepare()
        return cls(config, engine, kept, Audit(config.folder, config.audit.messages))

    def courier(self) -> Courier:
        """Who delivers results."""
        tls = self.config.tls
        outgoing = None if tls is None else partial(context_of, tls, server=False)
        return Courier(self.engine, self.config.ae_title, self.config.destinations, self.config.folder, outgoing)

    def told(self, state: str, job: Job, error: str) -> None:
        """What a worker says of a job, for the audit log."""
        destination = str(job.payload.get("destination") or "")
        about = {"destination": destination} if destination else {}
        if state == "done" and job.kind == "deliver":
            self.audit.write("delivered", job=job.id, **about)
        elif state in ("dead", "lost", "failed"):
            self.audit.write(state, job=job.id, kind=job.kind, tries=job.tries, reason=error, **about)


Part: TypeAlias = Callable[[Parts, threading.Event], None]


def listen(parts: Parts, stop: threading.Event) -> None:
    """Serve C-ECHO and C-STORE."""
    parts.store.reconcile(store.ABANDONED_S)
    server = Listener(parts.config, parts.store, parts.audit).open()
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True, name="listener")
    thread.start()
    while thread.is_alive() and not stop.wait(LOOK_S):
        pass
    server.shutdown()


def keep(parts: Parts, stop: threading.Event) -> None:
    """See which studies are complete, fetch from the other ways in, and tidy up."""
    settings, queue = parts.config.studies, Queue(parts.engine)
    ways = [FolderWatcher(one, parts.store, parts.audit).poll for one in parts.config.folders]
    due: list[tuple[float, Callable[[], int]]] = [(LOOK_S, way) for way in ways]
    if parts.config.orthanc is not None:
        due.append((parts.config.orthanc.every_s, OrthancPoller(parts.config.orthanc, parts.store, parts.audit).poll))
    due.append((SWEEP_S, parts.store.sweep))
    next_at = [0.0] * len(due)
    troubles: dict[int, str] = {}
    while not stop.wait(min(LOOK_S, max(settings.quiet_s / 2.0, 0.05))):
        for study in store.complete(queue, settings.quiet_s, settings.force_s):
            parts.audit.write("received", study=study, **_received(parts.engine, study))
        for number, (every_s, poll) in enumerate(due):
            if time.monotonic() >= next_at[number]:
                next_at[number] = time.monotonic() + every_s
                _polled(parts, poll, number, troubles)


def _polled(parts: Parts, poll: Callable[[], int], number: int, troubles: dict[int, str]) -> None:
    """A way in that fails is noted when it begins to, not every second."""
    try:
        poll()
        trouble = ""
    except (TamperscopeError, OSError) as error:
        trouble = getattr(error, "message", None) or type(error).__name__
    if trouble and trouble != troubles.get(number):
        parts.audit.write("trouble", reason=trouble)
    troubles[number] = trouble


def _received(engine: Engine, study: str) -> Mapping[str, int | str]:
    query = select(func.count(), func.min(INSTANCES.c.source)).where(INSTANCES.c.study_uid == study)
    with engine.connect() as connection:
        count, source = connection.execute(query).one()
    return {"instances": count, "ae_title": source}


def judge(parts: Parts, stop: threading.Event) -> None:
    """Analyse studies."""
    analysis = Analysis(parts.config, parts.store, parts.courier(), parts.audit)
    queue = Queue(parts.engine, tries=ANALYSIS_TRIES)
    Worker(queue, {"analyse": analysis.analyse}, f"judge {os.getpid()}", told=parts.told).run(stop)


def carry(parts: Parts, stop: threading.Event) -> None:
    """Deliver results, and see that archives vouch for them."""
    courier = parts.courier()
    handlers = {"deliver": courier.deliver, "commit": courier.commit}
    Worker(Queue(parts.engine), handlers, f"courier {os.getpid()}", told=parts.told).run(stop)


PARTS: Mapping[str, Part] = {"listener": listen, "keeper": keep, "judge": judge, "courier": carry}


def run(name: str, path: Path) -> None:
    """One process: does its part until it is told to stop, or its parent is gone."""
    logging.getLogger("pynetdicom").disabled = True  # what matters of it is in the audit log
    stop, parent = threading.Event(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tells the others

    def orphaned() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=orphaned, daemon=True, name="parent").start()
    parts = Parts.of(path)
    parts.audit.write("process", part=name, pid=os.getpid())
    PARTS[name](parts, stop)
