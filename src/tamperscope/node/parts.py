"""The processes of a node, each of which may die and comes back: listener, keeper, workers, courier."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Engine, func, select

from tamperscope.errors import TamperscopeError
from tamperscope.jobs import database, deliver, processes
from tamperscope.jobs.audit import Audit
from tamperscope.jobs.deliver import Courier
from tamperscope.jobs.queue import Job, Queue
from tamperscope.jobs.tables import INSTANCES
from tamperscope.jobs.worker import Worker
from tamperscope.node import config as configuration
from tamperscope.node import health, store
from tamperscope.node.analysis import Analysis
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
        kept = Store(config.folder, engine, config.listener.free_bytes, config.listener.object_bytes)
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
    """See which studies are complete; the other ways in and the tidying up have threads of their own."""
    settings, queue = parts.config.studies, Queue(parts.engine)
    ways: list[tuple[float, Callable[[], int]]] = [(SWEEP_S, parts.store.sweep)]
    ways += [(LOOK_S, FolderWatcher(one, parts.store, parts.audit).poll) for one in parts.config.folders]
    if parts.config.orthanc is not None:
        poller = OrthancPoller(parts.config.orthanc, parts.store, parts.audit)
        ways.append((parts.config.orthanc.every_s, poller.poll))
    for every_s, poll in ways:
        threading.Thread(target=_again, args=(parts, stop, every_s, poll), daemon=True).start()
    while not stop.wait(min(LOOK_S, max(settings.quiet_s / 2.0, 0.05))):
        for study in store.complete(queue, settings.quiet_s, settings.force_s):
            parts.audit.write("received", study=study, **_received(parts.engine, study))


def _again(parts: Parts, stop: threading.Event, every_s: float, poll: Callable[[], int]) -> None:
    """Poll until the end. What fails is noted when it begins to, not every second."""
    before = ""
    while not stop.wait(every_s):
        try:
            poll()
            trouble = ""
        except Exception as error:  # a way in must not end the keeper, whatever comes in by it
            trouble = getattr(error, "message", None) or type(error).__name__
        if trouble and trouble != before:
            parts.audit.write("trouble", reason=trouble)
        before = trouble


def _received(engine: Engine, study: str) -> Mapping[str, int | str]:
    query = select(func.count(), func.min(INSTANCES.c.source)).where(INSTANCES.c.study_uid == study)
    with engine.connect() as connection:
        count, source = connection.execute(query).one()
    return {"instances": count, "ae_title": source}


def judge(parts: Parts, stop: threading.Event) -> None:
    """Analyse studies."""
    queue = Queue(parts.engine, tries=ANALYSIS_TRIES)
    analysis = Analysis(parts.config, parts.store, parts.courier(), parts.audit, queue)
    Worker(queue, {store.ANALYSE: analysis.analyse}, f"judge {os.getpid()}", told=parts.told).run(stop)


def carry(parts: Parts, stop: threading.Event) -> None:
    """Deliver results, and see that archives vouch for them: a thread a destination, for one may be slow or away."""
    courier = parts.courier()
    handlers = {"deliver": courier.deliver, "commit": courier.commit}
    threads = []
    for name in parts.config.destinations:
        begins, holder = deliver.prefix(name), f"courier {os.getpid()}"
        worker = Worker(Queue(parts.engine), handlers, holder, prefix=begins, told=parts.told)
        threads.append(threading.Thread(target=worker.run, args=(stop,), name=f"courier to {name}"))
    for thread in threads:
        thread.start()
    while not stop.wait(LOOK_S):
        if not all(thread.is_alive() for thread in threads):
            raise TamperscopeError("a courier has ended", hint="it is started anew")
    for thread in threads:
        thread.join()


PARTS: Mapping[str, Part] = {"listener": listen, "keeper": keep, "judge": judge, "courier": carry}


def run(name: str, path: Path) -> None:
    """One process: does its part until it is told to stop, or its parent is gone."""
    logging.getLogger("pynetdicom").disabled = True  # what matters of it is in the audit log
    stop = processes.child()
    parts = Parts.of(path)
    parts.audit.write("process", part=name, pid=os.getpid())
    threading.Thread(target=_alive, args=(parts, name, stop), daemon=True, name="sign of life").start()
    try:
        PARTS[name](parts, stop)
    except TamperscopeError as error:
        parts.audit.write("trouble", part=name, reason=str(error))
        sys.exit(1)


def _alive(parts: Parts, name: str, stop: threading.Event) -> None:
    """Touch a file by which `health.look` knows that this process is there."""
    sign = parts.config.folder / health.ALIVE / name
    while True:
        with suppress(OSError):
            sign.parent.mkdir(exist_ok=True)
            sign.touch()
        if stop.wait(health.SIGN_OF_LIFE_S):
            with suppress(OSError):
                sign.unlink()
            return
