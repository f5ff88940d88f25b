"""Takes jobs and does them, one at a time, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy.exc import SQLAlchemyError

from tamperscope.errors import InputError, TamperscopeError
from tamperscope.jobs.queue import Job, Order, Queue
from tamperscope.records import JSON

LEASE_S = 60.0
IDLE_S = 0.5
"""Between two looks at an empty table."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job, and what is to be done next."""

    result: JSON = None
    after: Sequence[Order] = field(default=())


class Later(Exception):  # noqa: N818 - it is no error
    """The job cannot be done yet, for the reason that is given; it comes back like one that failed."""


Handler: TypeAlias = Callable[[Job], Done]
Told: TypeAlias = Callable[[str, Job, str], None]
"""Called with "done", "failed", "dead" or "lost", the job, and the error."""


@dataclass(slots=True)
class Worker:
    """Does the jobs that it has handlers for."""

    queue: Queue
    handlers: Mapping[str, Handler]
    name: str
    lease_s: float = LEASE_S
    prefix: str = ""
    """Of the keys of the jobs that it takes."""
    told: Told = lambda _state, _job, _error: None

    def run(self, stop: threading.Event, idle_s: float = IDLE_S) -> None:
        """Until ``stop`` is set; the job at hand is finished first."""
        while not stop.is_set():
            if not self.step():
                stop.wait(idle_s)

    def step(self) -> bool:
        """Do one job; False if there was none."""
        job = self.queue.take(tuple(self.handlers), self.name, self.lease_s, self.prefix)
        if job is None:
            return False
        with self._held(job):
            error, final = self._done(job)
        if error:
            self.queue.fail(job, error, final=final)
            dead = final or job.tries >= self.queue.tries
            self.told("dead" if dead else "failed", job, error)
        return True

    def _done(self, job: Job) -> tuple[str, bool]:
        """(what went wrong, whether it would go wrong again); an empty text if nothing did."""
        try:
            done = self.handlers[job.kind](job)
        except InputError as error:
            return str(error), True
        except (TamperscopeError, Later) as error:
            return str(error), False
        except Exception as error:  # a job must not end the worker; its message could hold what a header says
            return whereabouts(error), False
        kept = self.queue.finish(job, done.result, done.after)
        self.told("done" if kept else "lost", job, "")
        return "", False

    @contextmanager
    def _held(self, job: Job) -> Iterator[None]:
        """Renew the lease from a thread of its own while the job is done."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self.lease_s / 3.0):
                with suppress(SQLAlchemyError):  # a database that is away for a moment; the next time may do
                    self.queue.renew(job, self.lease_s)

        keeper = threading.Thread(target=renew, daemon=True, name=f"lease of job {job.id}")
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()


def whereabouts(error: BaseException) -> str:
    """Kind of an error, module and line where it arose: enough to find the fault, and nothing of the patient."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = "unknown" if last is None else f"{last.tb_frame.f_globals.get('__name__', '?')}:{last.tb_lineno}"
    return f"{type(error).__name__} at {place}"
