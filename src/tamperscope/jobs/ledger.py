"""The pixels of every instance as they were first seen, in a chain of hashes: what changed later is found for certain.

A row holds the digest of the row before it, so nobody can change or remove one without changing all that follow; the
newest digest, which the audit log repeats after each study, vouches for the whole. What is kept is the SOP Instance
UID, the frame, and the SHA-256 of the decoded voxels: a file that is compressed losslessly, or whose patient is
renamed, stays the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, Engine, func, insert, select, tuple_

from tamperscope.errors import UnreadableError
from tamperscope.jobs.tables import LEDGER
from tamperscope.records import Volume, voxel_digest

START = "0" * 64
"""What the first row follows."""
LOCK = 7_428_130_552
"""Of PostgreSQL: one process at a time makes the chain longer."""
AT_ONCE = 400
"""Frames that one query asks for."""

Seen = tuple[str, int, str]
"""SOP Instance UID, frame counted from 1, digest of its voxels."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a frame at first sight."""

    number: int
    time: float
    instance: str
    frame: int
    pixels: str
    previous: str

    @property
    def digest(self) -> str:
        """Of the whole row, which the next one repeats."""
        facts = [self.number, self.time, self.instance, self.frame, self.pixels, self.previous]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Checked:
    """What the ledger says of pictures: slices that are as they were, that are not, and that it never saw."""

    same: int
    changed: tuple[str, ...]
    """"UID, frame N" of each."""
    unknown: int


@dataclass(slots=True)
class Ledger:
    """The chain in a database."""

    engine: Engine
    now: Callable[[], float] = time.time
    changed: list[str] = field(default_factory=list)
    """SOP Instance UIDs of what was not as it had been, over all calls of `see`."""

    def see(self, volume: Volume) -> None:
        """Note the slices of a volume that are new, and remember which of the others have changed."""
        self.changed += dict.fromkeys(uid for uid, _ in self.add(seen_in(volume)))

    def add(self, seen: Sequence[Seen]) -> list[tuple[str, int]]:
        """Note what is new; (UID, frame) of what has another digest than at first sight."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            first = _first(connection, seen)
            number, previous = _head(connection)
            fresh, changed = [], []
            for instance, frame, pixels in seen:
                known = first.setdefault((instance, frame), "")
                if known == "":
                    first[instance, frame] = pixels
                    number += 1
                    entry = Entry(number, self.now(), instance, frame, pixels, previous)
                    previous = entry.digest
                    fresh.append({**asdict(entry), "digest": previous})
                elif known != pixels:
                    changed.append((instance, frame))
            if fresh:
                connection.execute(insert(LEDGER), fresh)
        return changed

    def head(self) -> str:
        """The newest digest."""
        with self.engine.connect() as connection:
            return _head(connection)[1]

    def check(self) -> int:
        """Follow the whole chain; how many rows it has.

        Raises:
            UnreadableError: a row was changed, or one before it removed; the message says which.
        """
        number, previous = 0, START
        for entry, told in self._rows():
            number += 1
            if entry.number != number or entry.previous != previous or entry.digest != told:
                what = f"row {number} of the ledger was changed, or one before it removed"
                raise UnreadableError(what, hint="restore the database from its copy and find out who had access")
            previous = told
        return number

    def reaches(self, digest: str | None) -> None:
        """See that a digest that was noted elsewhere is in the chain: rows that were cut off at its end break none.

        Raises:
            UnreadableError: it is not.
        """
        if digest in (None, START):
            return
        with self.engine.connect() as connection:
            found = connection.execute(select(LEDGER.c.number).where(LEDGER.c.digest == digest)).first()
        if found is None:
            what = f"the ledger does not hold the digest {str(digest)[:16]}... that the audit log has noted"
            raise UnreadableError(what, hint="rows were removed from its end: restore it from its copy")

    def compare(self, volumes: Iterable[Volume]) -> Checked:
        """Set pictures against what they were at first sight."""
        same, unknown, changed = 0, 0, []
        for volume in volumes:
            seen = seen_in(volume)
            unknown += len(volume.sop_instance_uids) - len(seen)
            with self.engine.connect() as connection:
                first = _first(connection, seen)
            for instance, frame, pixels in seen:
                known = first.get((instance, frame))
                unknown += known is None
                same += known == pixels
                if known not in (None, pixels):
                    changed.append(f"{instance}, frame {frame}")
        return Checked(same, tuple(changed), unknown)

    def _rows(self) -> Iterator[tuple[Entry, str]]:
        last: int | None = -1
        while last is not None:
            query = select(LEDGER).where(LEDGER.c.number > last).order_by(LEDGER.c.number).limit(AT_ONCE)
            with self.engine.connect() as connection:
                rows = connection.execute(query).all()
            for *facts, told in rows:
                yield Entry(*facts), told
            last = rows[-1].number if rows else None


def seen_in(volume: Volume) -> list[Seen]:
    """The slices that have a UID."""
    rows = zip(volume.sop_instance_uids, volume.frames, volume.voxels, strict=True)
    return [(uid, frame, voxel_digest(plane)) for uid, frame, plane in rows if uid]


def _first(connection: Connection, seen: Sequence[Seen]) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    pairs = [(instance, frame) for instance, frame, _ in seen]
    columns = (LEDGER.c.instance, LEDGER.c.frame)
    for start in range(0, len(pairs), AT_ONCE):
        query = select(*columns, LEDGER.c.pixels).where(tuple_(*columns).in_(pairs[start : start + AT_ONCE]))
        found |= {(instance, frame): pixels for instance, frame, pixels in connection.execute(query)}
    return found


def _head(connection: Connection) -> tuple[int, str]:
    query = select(LEDGER.c.number, LEDGER.c.digest).order_by(LEDGER.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return (0, START) if row is None else (row[0], row[1])
