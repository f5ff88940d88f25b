"""The processes of a service: one that speaks HTTP and looks into nothing, and those that read, judge and compare."""

from __future__ import annotations

import gc
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import TypeAlias

import uvicorn

from tamperscope.jobs import processes
from tamperscope.jobs.queue import Job, Queue
from tamperscope.jobs.worker import Handler, Worker
from tamperscope.records import JSON
from tamperscope.service import guard
from tamperscope.service.comparisons import COMPARE
from tamperscope.service.config import Config
from tamperscope.service.judging import Judge
from tamperscope.service.reading import Reader
from tamperscope.service.service import Service
from tamperscope.service.studies import JUDGE
from tamperscope.service.uploads import READ

TRIES = 4
"""A study that killed its worker so often is given up."""
IDLE_S = 0.1
KEEP_ALIVE_S = 20
HEAD_BYTES = 64 * 1024
SUBJECTS = ("upload", "scan", "comparison")
"""What a job can be about, as its payload calls it."""
LEASE_S = 10.0
"""Held by a thread that renews it: a worker that was killed is missed after so long."""


def server(service: Service) -> uvicorn.Server:
    """Uvicorn round the application."""
    from tamperscope.service.app import make

    settings = service.config.server
    return uvicorn.Server(
        uvicorn.Config(
            make(service),
            host=settings.address,
            port=settings.port,
            http=guard.protocol(settings),
            ws="none",
            lifespan="on",
            access_log=False,  # addresses hold names of studies; the audit log has what matters
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
            log_level="error",
            h11_max_incomplete_event_size=HEAD_BYTES,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
        )
    )


def web(service: Service, stop: threading.Event) -> None:
    """Serve HTTP."""
    # It logs what is wrong with a body, and whoever sends bodies could fill the journal.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    one = server(service)
    thread = threading.Thread(target=one.run, name="uvicorn")
    thread.start()
    while thread.is_alive() and not stop.wait(0.2):
        pass
    one.should_exit = True
    thread.join()


def read(service: Service, stop: threading.Event) -> None:
    """Read uploads, and compare studies: what does not take long."""
    reader = Reader(service.engine, service.uploads, service.studies, service.audit)
    _work(service, stop, {READ: reader.read, COMPARE: service.comparisons.compare}, "reader")


def judge(service: Service, stop: threading.Event) -> None:
    """Judge studies."""
    one = Judge(service.config, service.engine, service.studies, service.audit)
    _work(service, stop, {JUDGE: one.judge}, "judge")


def _work(service: Service, stop: threading.Event, handlers: Mapping[str, Handler], name: str) -> None:
    # Readers of images warn of values that they find odd, and quote them.
    warnings.simplefilter("ignore")

    def told(state: str, job: Job, _error: str) -> None:
        if state in ("dead", "failed", "lost"):
            # Why it failed stands in the row of the thing: the reason may name a file, and the file a patient.
            about: dict[str, JSON] = {key: job.payload[key] for key in SUBJECTS if key in job.payload}
            service.audit.write(state, job=job.id, kind=job.kind, tries=job.tries, **about)
        gc.collect()  # the next study may need what the last one had

    queue = Queue(service.engine, tries=TRIES, first_wait_s=5.0)
    Worker(queue, handlers, f"{name} {os.getpid()}", lease_s=LEASE_S, told=told).run(stop, IDLE_S)


Part: TypeAlias = Callable[[Service, threading.Event], None]
PARTS: Mapping[str, Part] = {"web": web, "reader": read, "judge": judge}


def run(name: str, config: Config, key: str) -> None:
    """One process: does its part until it is told to stop, or its parent is gone."""
    stop = processes.child()
    service = Service.of(config, key)
    service.audit.write("process", part=name, pid=os.getpid())
    PARTS[name](service, stop)
