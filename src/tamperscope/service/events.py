"""What changes, told to every page that listens: one look at the database for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from tamperscope.service.studies import Filter, Studies
from tamperscope.service.uploads import Uploads

LOOK_S = 0.5
OVERLAP_S = 5.0
"""A transaction of another process that began before the last look may be committed after it."""
MOST_WAITING = 1000
"""Events that a listener has not fetched; one that is so far behind is let go, and its page asks anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """A study or an upload as it is now."""

    kind: Literal["study", "upload"]
    data: dict[str, Any]


@dataclass
class Events:
    """Listeners, and what they were told last."""

    studies: Studies
    uploads: Uploads
    now: Callable[[], float] = time.time
    _listeners: set[asyncio.Queue[Event | None]] = field(default_factory=set, init=False, repr=False)
    _told: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _looked: float = field(default=float("inf"), init=False, repr=False)
    """When it last looked with success; listeners of before were told what they missed."""

    async def run(self) -> None:
        """Look and tell, for ever."""
        while True:
            if self._listeners:
                with suppress(SQLAlchemyError):  # what changed while it was away is told later
                    for event in await asyncio.to_thread(self._look):
                        self._tell(event)
            else:
                self._looked = float("inf")  # whoever comes next has just been told how things stand
            await asyncio.sleep(LOOK_S)

    async def listen(self) -> AsyncIterator[Event]:
        """What is under way, and from then on what changes."""
        with self._listener() as waiting:
            for state in ("gathering", "waiting", "running"):
                page = await asyncio.to_thread(self.studies.find, Filter(state=state, sort="made", limit=MOST_WAITING))
                for row in page.rows:
                    yield Event("study", asdict(row))
            while (event := await waiting.get()) is not None:
                yield event

    @contextmanager
    def _listener(self) -> Iterator[asyncio.Queue[Event | None]]:
        waiting: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(waiting)
        try:
            yield waiting
        finally:
            self._listeners.discard(waiting)

    def _look(self) -> list[Event]:
        begun = self.now()
        since = min(self._looked, begun) - OVERLAP_S
        found = [Event("study", asdict(row)) for row in self.studies.changed(since)]
        found += [Event("upload", asdict(upload)) for upload in self.uploads.changed(since)]
        fresh = [event for event in found if self._told.get(event.data["id"], 0.0) < event.data["changed"]]
        self._told = {event.data["id"]: event.data["changed"] for event in found}
        self._looked = begun
        return fresh

    def _tell(self, event: Event) -> None:
        for waiting in tuple(self._listeners):
            if waiting.qsize() >= MOST_WAITING - 1:
                self._listeners.discard(waiting)
                waiting.put_nowait(None)
            else:
                waiting.put_nowait(event)
