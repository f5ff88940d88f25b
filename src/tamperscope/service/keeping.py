"""What has to be done from time to time: studies that are complete, jobs that died, what nobody needs any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, String, Table, cast, literal, select, update

from tamperscope.jobs import database
from tamperscope.jobs.tables import COMPARISONS, JOBS, SCANS, UPLOADS
from tamperscope.service.comparisons import COMPARE
from tamperscope.service.service import Service
from tamperscope.service.studies import JUDGE
from tamperscope.service.uploads import READ

LOOK_S, SWEEP_S = 1.0, 600.0


@dataclass
class Keeper:
    """Looks after a service."""

    service: Service
    now: Callable[[], float] = time.time
    _swept: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Look, for ever. What fails is noted, and tried again the next time."""
        before = ""
        while True:
            try:
                await asyncio.to_thread(self.look)
                trouble = ""
            except Exception as error:  # a database that is away must not end the service
                trouble = getattr(error, "message", None) or type(error).__name__
            if trouble and trouble != before:
                self.service.audit.write("trouble", reason=trouble)
            before = trouble
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Do what is due."""
        service = self.service
        service.studies.gathered(service.config.storage.quiet_s)
        version = literal(f"{JUDGE}:") + SCANS.c.id + ":" + cast(SCANS.c.version, String)
        now = self.now()
        expires = service.config.storage.expires(now)
        self._buried(SCANS, version, ("waiting", "running"), ended=now, expires=expires)
        self._buried(UPLOADS, literal(f"{READ}:") + UPLOADS.c.id, ("received",))
        self._buried(COMPARISONS, literal(f"{COMPARE}:") + COMPARISONS.c.id, ("waiting",))
        if self.now() - self._swept > SWEEP_S:
            self._swept = self.now()
            for study in service.studies.expire():
                service.audit.write("deleted", study=study, reason="its time was over")
            abandoned_s = service.config.storage.abandoned_hours * 3600.0
            service.uploads.sweep(abandoned_s)
            service.studies.sweep(abandoned_s)

    def _buried(self, table: Table, key: ColumnElement[str], states: tuple[str, ...], **more: float | None) -> None:
        """Say of rows whose job is dead that they failed: a job that killed its worker tells nobody itself."""
        query = select(table.c.id, JOBS.c.error).join(JOBS, JOBS.c.key == key)
        query = query.where(JOBS.c.state == "dead", table.c.state.in_(states))
        engine = self.service.engine
        with database.reading(engine) as connection:
            dead = connection.execute(query).all()
        for one, error in dead:
            with engine.begin() as connection:
                values = {"state": "failed", "error": error, "changed": self.now(), **more}
                connection.execute(update(table).where(table.c.id == one, table.c.state.in_(states)).values(**values))
