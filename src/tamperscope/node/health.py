"""How the node is: the same figures for `tamperscope status`, for Prometheus, and for a load balancer."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from tamperscope import __version__
from tamperscope.errors import TamperscopeError
from tamperscope.jobs.database import unreachable
from tamperscope.jobs.queue import Queue
from tamperscope.jobs.tables import INSTANCES, STUDIES
from tamperscope.node.config import Config

ALIVE, ALIVE_PARTS = "alive", ("listener", "keeper", "courier", "judge")
"""The folder in which each process touches a file of its name."""
ALIVE_S, SIGN_OF_LIFE_S = 20.0, 4.0
"""So long after the last sign of life a process is taken for dead; how often it gives one."""
REQUEST_S = 10.0
BEHIND_S = 900.0
"""A job that is due for longer than this says that the node does not keep up."""


@dataclass(frozen=True, slots=True)
class Health:
    """Figures of one moment."""

    instances: int
    studies: int
    studies_open: int
    jobs: dict[str, dict[str, int]]
    """Kind to state to number."""
    oldest_wait_s: float
    free_bytes: int
    full: bool
    problems: tuple[str, ...]
    """In words; none if all is well."""

    def tree(self) -> dict[str, Any]:
        """For JSON."""
        return {"version": __version__, **asdict(self), "healthy": not self.problems}


def look(config: Config, engine: Engine) -> Health:
    """How it is now.

    Raises:
        UsageError: the database cannot be reached.
    """
    try:
        return _look(config, engine)
    except OperationalError as error:
        raise unreachable(engine, error) from error


def _look(config: Config, engine: Engine) -> Health:
    queue = Queue(engine)
    with engine.connect() as connection:
        instances = connection.execute(select(func.count()).select_from(INSTANCES)).scalar_one()
        studies = connection.execute(select(func.count()).select_from(STUDIES)).scalar_one()
        still = connection.execute(select(func.count()).select_from(STUDIES).where(STUDIES.c.open)).scalar_one()
    jobs: dict[str, dict[str, int]] = {}
    for (kind, state), count in sorted(queue.counts().items()):
        jobs.setdefault(kind, {})[state] = count
    free = shutil.disk_usage(config.folder).free
    full, waited = free < config.listener.free_bytes, queue.oldest_wait()
    dead = sum(states.get("dead", 0) for states in jobs.values())
    problems = _silent(config)
    if full:
        problems.append(f"{free / 1e9:.1f} GB are free: nothing more is taken")
    if dead:
        problems.append(f"{dead} jobs are dead: tamperscope node dead lists them, tamperscope node resend tries again")
    if waited > BEHIND_S:
        problems.append(
            f"the oldest job has waited for {waited / 60:.0f} minutes: more workers, or a look at the audit log"
        )
    return Health(instances, studies, still, jobs, waited, free, full, tuple(problems))


def _silent(config: Config) -> list[str]:
    """Which processes of the node have given no sign of life lately."""
    silent = []
    for part in ALIVE_PARTS:
        try:
            age = time.time() - (config.folder / ALIVE / part).stat().st_mtime
        except OSError:
            age = math.inf
        if age > ALIVE_S:
            silent.append(part)
    if len(silent) == len(ALIVE_PARTS):
        return ["the node is not running"]
    return [f"the {part} is not running: the audit log says why" for part in silent]


class _Figures(Collector):
    """Asks when Prometheus asks; nothing is counted in between, so every process sees the same."""

    def __init__(self, look: Callable[[], Health]) -> None:
        self._look = look

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        try:
            now = self._look()
        except TamperscopeError:
            yield GaugeMetricFamily("tamperscope_healthy", "1 if nothing is wrong.", value=0.0)
            return
        yield CounterMetricFamily("tamperscope_instances_received", "Instances on the disk.", value=now.instances)
        yield CounterMetricFamily("tamperscope_studies_received", "Studies.", value=now.studies)
        yield GaugeMetricFamily("tamperscope_studies_open", "Studies that are not complete.", value=now.studies_open)
        jobs = GaugeMetricFamily("tamperscope_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for kind, states in now.jobs.items():
            for state, count in states.items():
                jobs.add_metric([kind, state], count)
        yield jobs
        yield GaugeMetricFamily("tamperscope_oldest_wait_seconds", "Of a job that is due.", value=now.oldest_wait_s)
        yield GaugeMetricFamily("tamperscope_free_bytes", "On the disk of the store.", value=now.free_bytes)
        yield GaugeMetricFamily("tamperscope_healthy", "1 if nothing is wrong.", value=float(not now.problems))


def serve(config: Config, engine: Engine) -> WSGIServer:
    """``/metrics`` for Prometheus and ``/healthz`` (200 or 503) from a thread, until ``shutdown``.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(lambda: look(config, engine)))
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/metrics":
            answered: Iterable[bytes] = metrics(environ, start)
            return answered
        if environ.get("PATH_INFO") != "/healthz":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics or /healthz\n"]
        try:
            now = look(config, engine).tree()
        except TamperscopeError as error:
            now = {"healthy": False, "problems": [error.message]}
        start("200 OK" if now["healthy"] else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(now).encode()]

    server = make_server(config.metrics.address, config.metrics.port, app, server_class=_Server, handler_class=_Silent)
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
    return server


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request: one that is never finished holds up nobody, and not the end of the node."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    timeout = REQUEST_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line a request."""
