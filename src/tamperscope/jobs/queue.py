"""Jobs with leases: whoever takes one holds it for a while; if they die, it comes back.

A job is finished by the try that holds it alone: a worker that was thought dead and wakes up later changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, CursorResult, Engine, and_, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tamperscope.errors import UsageError
from tamperscope.jobs.tables import JOBS
from tamperscope.records import JSON

FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0
"""After the first failure, and at most; between them the wait doubles each time."""
TRIES = 10
"""As many times a job is tried before it is dead."""
LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is held."""

    id: int
    kind: str
    key: str
    payload: Mapping[str, Any]
    tries: int
    """Which try this is, from 1."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job to put in. ``key`` is unique for all time: the same work is done once."""

    kind: str
    key: str
    payload: Mapping[str, JSON]
    due: float = 0.0
    """Not before this time; 0 for at once."""


@dataclass(slots=True)
class Queue:
    """The table of jobs. ``now`` gives seconds since 1970."""

    engine: Engine
    now: Callable[[], float] = time.time
    tries: int = TRIES
    first_wait_s: float = FIRST_WAIT_S

    def add(self, order: Order) -> bool:
        """Put a job in; False if its key was there already."""
        with self.engine.begin() as connection:
            return self.add_in(connection, order)

    def add_in(self, connection: Connection, order: Order) -> bool:
        """The same within a transaction that does more."""
        found = connection.execute(
            inserted(connection, JOBS)
            .values(
                kind=order.kind,
                key=order.key,
                payload=dict(order.payload),
                state="waiting",
                tries=0,
                due=order.due or self.now(),
                made=self.now(),
            )
            .on_conflict_do_nothing(index_elements=["key"])
            .returning(JOBS.c.id)
        )
        return found.first() is not None

    def take(self, kinds: Sequence[str], holder: str, lease_s: float, prefix: str = "") -> Job | None:
        """The job of these kinds that has been due longest, held until ``lease_s`` from now; None if there is none.

        One whose holder did not come back in time is taken again, until its tries are used up: then it is dead.
        Only jobs whose keys begin with ``prefix`` are looked at.
        """
        now, wanted = self.now(), [cast("ColumnElement[bool]", JOBS.c.kind.in_(kinds))]
        if prefix:
            wanted.append(JOBS.c.key.startswith(prefix, autoescape=True))
        free = or_(
            and_(JOBS.c.state == "waiting", JOBS.c.due <= now),
            and_(JOBS.c.state == "leased", JOBS.c.leased_until < now),
        )
        with self.engine.begin() as connection:
            connection.execute(
                update(JOBS)
                .where(*wanted, JOBS.c.state == "leased", JOBS.c.leased_until < now)
                .where(JOBS.c.tries >= self.tries)
                .values(state="dead", ended=now, error="its worker died each time")
            )
            first = (
                select(JOBS.c.id)
                .where(*wanted, free)
                .order_by(JOBS.c.due, JOBS.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
                .scalar_subquery()
            )
            row = connection.execute(
                update(JOBS)
                .where(JOBS.c.id == first)
                .values(state="leased", tries=JOBS.c.tries + 1, holder=holder, leased_until=now + lease_s)
                .returning(JOBS.c.id, JOBS.c.kind, JOBS.c.key, JOBS.c.payload, JOBS.c.tries)
            ).one_or_none()
        return None if row is None else Job(*row)

    def renew(self, job: Job, lease_s: float) -> bool:
        """Hold on to a job; False if it was lost."""
        return self._change(job, leased_until=self.now() + lease_s)

    def finish(self, job: Job, result: JSON = None, after: Sequence[Order] = ()) -> bool:
        """The job is done, and what follows from it is put in, in one step; False if it was lost."""
        with self.engine.begin() as connection:
            held = self._change_in(connection, job, state="done", result=result, error=None, ended=self.now())
            for order in after if held else ():
                self.add_in(connection, order)
        return held

    def fail(self, job: Job, error: str, *, final: bool = False) -> bool:
        """The job failed: it comes back after a while, or is dead; False if it was lost."""
        told = error[:LONGEST_ERROR]
        if final or job.tries >= self.tries:
            return self._change(job, state="dead", error=told, ended=self.now())
        wait = min(self.first_wait_s * 2.0 ** (job.tries - 1), LONGEST_WAIT_S)
        return self._change(job, state="waiting", error=told, due=self.now() + wait, leased_until=None)

    def dead(self) -> list[Mapping[str, Any]]:
        """The dead letters, the newest first: id, kind, key, tries, error, ended."""
        columns = (JOBS.c.id, JOBS.c.kind, JOBS.c.key, JOBS.c.tries, JOBS.c.error, JOBS.c.ended)
        with self.engine.connect() as connection:
            rows = connection.execute(select(*columns).where(JOBS.c.state == "dead").order_by(JOBS.c.ended.desc()))
            return [dict(row._mapping) for row in rows]

    def resend(self, job_id: int | None = None) -> int:
        """Let a dead job, or all of them, be tried anew; how many there were.

        Raises:
            UsageError: there is no dead job of this number.
        """
        chosen = JOBS.c.state == "dead" if job_id is None else and_(JOBS.c.state == "dead", JOBS.c.id == job_id)
        with self.engine.begin() as connection:
            changed = connection.execute(
                update(JOBS).where(chosen).values(state="waiting", tries=0, due=self.now(), ended=None)
            ).rowcount
        if job_id is not None and not changed:
            raise UsageError(f"no dead job has the number {job_id}", hint="tamperscope status lists them")
        return changed

    def held_beside(self, job: Job, prefix: str) -> bool:
        """Whether somebody holds another job whose key begins with ``prefix``."""
        others = select(JOBS.c.id).where(
            JOBS.c.id != job.id,
            JOBS.c.key.startswith(prefix, autoescape=True),
            JOBS.c.state == "leased",
            JOBS.c.leased_until >= self.now(),
        )
        with self.engine.connect() as connection:
            return connection.execute(others.limit(1)).first() is not None

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs there are by (kind, state)."""
        query = select(JOBS.c.kind, JOBS.c.state, func.count()).group_by(JOBS.c.kind, JOBS.c.state)
        with self.engine.connect() as connection:
            return {(kind, state): count for kind, state, count in connection.execute(query)}

    def oldest_wait(self) -> float:
        """Seconds since the oldest job that is due was due; 0 if none is."""
        query = select(func.min(JOBS.c.due)).where(JOBS.c.state == "waiting", JOBS.c.due <= self.now())
        with self.engine.connect() as connection:
            due = connection.execute(query).scalar()
        return 0.0 if due is None else max(self.now() - due, 0.0)

    def _change(self, job: Job, **values: Any) -> bool:
        with self.engine.begin() as connection:
            return self._change_in(connection, job, **values)

    def _change_in(self, connection: Connection, job: Job, **values: Any) -> bool:
        mine = and_(JOBS.c.id == job.id, JOBS.c.state == "leased", JOBS.c.tries == job.tries)
        changed = cast("CursorResult[Any]", connection.execute(update(JOBS).where(mine).values(**values)))
        return bool(changed.rowcount)


def inserted(connection: Connection, table: Any) -> Any:
    """An INSERT of the dialect at hand, which knows ON CONFLICT."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}.get(connection.dialect.name, insert)(table)
