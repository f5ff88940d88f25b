"""What was received, as it was received, on the disk before it is acknowledged.

The order is: a file under another name, to the disk, renamed, the folder to the disk, the row, the answer. So a crash
at any moment leaves at worst a partial file, or a file without a row, and `Store.reconcile` puts both right.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info
from sqlalchemy import BindParameter, Connection, Engine, Executable, bindparam, case, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from tamperscope.errors import FullError, LimitError, TamperscopeError, UnreadableError
from tamperscope.formats import dicom
from tamperscope.jobs.files import flush
from tamperscope.jobs.queue import Order, Queue
from tamperscope.jobs.tables import INSTANCES, STUDIES
from tamperscope.limits import DEFAULT_LIMITS, Limits
from tamperscope.records import JSON

OBJECTS, INCOMING, DAMAGED = "objects", "incoming", "damaged"
PIECE = 1 << 20
ANALYSE = "analyse"
"""The kind of job that a complete study becomes, and the first part of its key."""
ABANDONED_S = 3600.0
"""Age at which a partial file is nobody's."""
PREAMBLE = 128
HEAD = 1 << 16
"""Bytes of a file that nearly always hold its whole header."""
LONGEST_HEADER = 16 << 20
UID = re.compile(r"[0-9A-Za-z.-]{1,64}")
"""What is taken for a UID: more than PS3.5 9.1 allows, and nothing that a file system or a database minds."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that is on the disk."""

    sop_uid: str
    study_uid: str
    sha256: str
    image: bool
    new: bool
    """False where the same object was there before."""
    conflict: bool
    """Another object is known by the same UID."""


@dataclass(frozen=True, slots=True)
class _Facts:
    sop_uid: str
    study_uid: str
    series_uid: str
    image: bool


@dataclass(slots=True)
class _Waiting:
    """An object on the disk that waits for its row."""

    facts: _Facts
    digest: str
    source: str
    target: Path
    kept: Kept | None = None


@dataclass(slots=True)
class Store:
    """Objects below ``folder``, their rows in the database."""

    folder: Path
    engine: Engine
    free_bytes: int = 0
    object_bytes: int = 2 << 30
    limits: Limits = DEFAULT_LIMITS
    now: Callable[[], float] = time.time
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _waiting: deque[_Waiting] = field(default_factory=deque, init=False, repr=False)

    @property
    def incoming(self) -> Path:
        """Where a file is written before it is complete, on the same file system."""
        return self.folder / INCOMING

    def prepare(self) -> None:
        """Make the folders."""
        for name in (OBJECTS, INCOMING, DAMAGED):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def full(self, share: float = 1.0) -> bool:
        """Whether less than this share of what is to stay free is free."""
        return shutil.disk_usage(self.folder).free < self.free_bytes * share

    def keep(self, path: Path, source: str) -> Kept:
        """Take over a complete DICOM file at ``path``, which lies in `incoming`; it is gone from there afterwards.

        The preamble is zeroed, for it may hold a program (CVE-2019-11687); all else stays as it was sent.

        Raises:
            FullError: too little space is free.
            UnreadableError: it is no DICOM object with the UIDs that a study has.
        """
        try:
            if self.full():
                room = shutil.disk_usage(self.folder).free
                what = f"the disk is nearly full: {room} bytes are free, {self.free_bytes} are to stay free"
                raise FullError(what, hint="make room, or lower free_bytes")
            facts = _facts(path, self.limits)
            digest = _flushed(path)
            target = self._place(facts.study_uid, digest)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
            return self._committed(_Waiting(facts, digest, source, target))
        except (OSError, SQLAlchemyError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise FullError(f"the object cannot be written: {why}", hint="see disk and database") from error
        finally:
            path.unlink(missing_ok=True)

    def _committed(self, mine: _Waiting) -> Kept:
        """Its row, once it is on the disk. One thread writes for all that wait: every flush costs as much as a file."""
        self._waiting.append(mine)
        with self._turn:
            if mine.kept is None:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                flush({folder for one in batch for folder in (one.target.parent, one.target.parent.parent)})
                try:
                    self._write(batch)
                except SQLAlchemyError:
                    # One row that the database does not take must not cost the others theirs.
                    for one in batch if len(batch) > 1 else ():
                        with suppress(SQLAlchemyError):
                            self._write([one])
        if mine.kept is None:
            raise FullError("the row of the object cannot be written", hint="see disk and database")
        return mine.kept

    def _write(self, batch: Sequence[_Waiting]) -> None:
        with self.engine.begin() as connection:
            kept = [self._recorded(connection, one) for one in batch]
        for one, row in zip(batch, kept, strict=True):
            one.kept = row

    def take(self, pieces: Iterable[bytes], source: str) -> Kept:
        """The same for the bytes of a whole DICOM file, piece by piece.

        Raises:
            LimitError: it is larger than ``object_bytes``.
        """
        path, size = self.incoming / f"{os.getpid()}-{secrets.token_hex(8)}.dcm", 0
        try:
            with path.open("xb") as stream:
                for piece in pieces:
                    size += stream.write(piece)
                    if size > self.object_bytes:
                        what = f"an object of more than {self.object_bytes} bytes"
                        raise LimitError(what, hint="raise object_bytes")
        except OSError as error:
            path.unlink(missing_ok=True)
            raise FullError(f"the object cannot be written: {error.strerror}", hint="see the disk") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return self.keep(path, source)

    def reconcile(self, age_s: float) -> tuple[int, int]:
        """(files removed or put aside, files that got their row), after a crash; what was acknowledged is not lost.

        Partial files younger than ``age_s`` may be written to by another process, and stay.
        """
        removed = self._swept(age_s)
        with self.engine.connect() as connection:
            known = set(connection.execute(select(INSTANCES.c.sha256)).scalars())
        adopted = 0
        for path in sorted((self.folder / OBJECTS).rglob("*.dcm")):
            if path.stem in known:
                continue
            try:
                facts = _facts(path, self.limits)
            except TamperscopeError:
                path.replace(self.folder / DAMAGED / path.name)
                removed += 1
                continue
            with self.engine.begin() as connection:
                self._recorded(connection, _Waiting(facts, path.stem, "found after a crash", path))
            adopted += 1
        return removed, adopted

    def sweep(self) -> int:
        """Remove partial files that are nobody's any more; how many there were."""
        return self._swept(ABANDONED_S)

    def images(self, study_uid: str) -> tuple[list[Path], list[Path]]:
        """The files of a study that are to be analysed, by when they came, and further objects under known UIDs."""
        columns = (INSTANCES.c.sop_uid, INSTANCES.c.path)
        query = select(*columns).where(INSTANCES.c.study_uid == study_uid, INSTANCES.c.image)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(INSTANCES.c.received, INSTANCES.c.sop_uid)).all()
        first = {row.sop_uid: row.path for row in reversed(rows)}
        taken = set(first.values())
        paths = [(self.folder / path, path in taken) for _, path in rows]
        return [path for path, kept in paths if kept], [path for path, kept in paths if not kept]

    def version(self, study_uid: str) -> int:
        """How often a study was complete."""
        with self.engine.connect() as connection:
            found = connection.execute(select(STUDIES.c.version).where(STUDIES.c.study_uid == study_uid)).scalar()
        return found or 0

    def _swept(self, age_s: float) -> int:
        removed = 0
        for path in self.incoming.iterdir():
            with suppress(FileNotFoundError):  # complete by now, and renamed
                if self.now() - path.stat().st_mtime >= age_s:
                    path.unlink()
                    removed += 1
        return removed

    def _place(self, study_uid: str, digest: str) -> Path:
        """One folder for the objects of a study, shared with others: few folders have to be flushed at a time."""
        return self.folder / OBJECTS / hashlib.sha256(study_uid.encode()).hexdigest()[:2] / f"{digest}.dcm"

    def _recorded(self, connection: Connection, one: _Waiting) -> Kept:
        facts, digest, now, path = one.facts, one.digest, self.now(), str(one.target.relative_to(self.folder))
        row: dict[str, Any] = {"sop_uid": facts.sop_uid, "sha256": digest, "study_uid": facts.study_uid, "path": path}
        row |= {"series_uid": facts.series_uid, "source": one.source, "image": facts.image, "received": now}
        add, others, reopen = _statements(connection.dialect.name)
        new = connection.execute(add, row).first() is not None
        conflict = connection.execute(others, {"uid": facts.sop_uid, "digest": digest}).first() is not None
        if new and facts.image:
            connection.execute(reopen, {"study_uid": facts.study_uid, "now": now})
        return Kept(facts.sop_uid, facts.study_uid, digest, facts.image, new, conflict)


@cache
def _statements(dialect: str) -> tuple[Executable, Executable, Executable]:
    """Add an instance, find others under its UID, open its study; built once, for they are run for each instance."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    add = insert(INSTANCES).on_conflict_do_nothing().returning(INSTANCES.c.sop_uid)
    same = INSTANCES.c.sop_uid == bindparam("uid")
    others = select(INSTANCES.c.sha256).where(same, INSTANCES.c.sha256 != bindparam("digest")).limit(1)
    now: BindParameter[float] = bindparam("now")
    reopen = (
        insert(STUDIES)
        .values(study_uid=bindparam("study_uid"), opened=now, changed=now, open=True, version=0)
        .on_conflict_do_update(
            index_elements=["study_uid"],
            # How long it has been open, the first of its new instances says.
            set_={"changed": now, "open": True, "opened": case((STUDIES.c.open, STUDIES.c.opened), else_=now)},
        )
    )
    return add, others, reopen


def complete(queue: Queue, quiet_s: float, force_s: float) -> list[str]:
    """Put in a job for every study that has been quiet long enough, or open too long; their UIDs."""
    now = queue.now()
    ripe = (STUDIES.c.changed <= now - quiet_s) | (STUDIES.c.opened <= now - force_s)
    with queue.engine.begin() as connection:
        rows = connection.execute(
            update(STUDIES)
            .where(STUDIES.c.open, ripe)
            .values(open=False, version=STUDIES.c.version + 1)
            .returning(STUDIES.c.study_uid, STUDIES.c.version)
        ).all()
        for study_uid, version in rows:
            payload: dict[str, JSON] = {"study": study_uid, "version": version, "when": now}
            queue.add_in(connection, Order(ANALYSE, f"{ANALYSE}:{study_uid}:{version}", payload))
    return [study_uid for study_uid, _ in rows]


def _facts(path: Path, limits: Limits) -> _Facts:
    """UIDs, and whether it is an image to analyse; the beginning is enough unless the header is very long."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            try:
                return _read(head, limits)
            except UnreadableError:
                rest = stream.read(LONGEST_HEADER - HEAD)
                if not rest:
                    raise
                return _read(head + rest, limits)
    except OSError as error:
        raise UnreadableError(f"the object cannot be read: {error.strerror}", hint="send it again") from error


def _read(data: bytes, limits: Limits) -> _Facts:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = dicom.parse(data, "the object", limits)
        sop_uid, study_uid, series_uid = (_uid(parsed, level) for level in ("SOP", "Study", "Series"))
    return _Facts(sop_uid, study_uid, series_uid, dicom.skip_reason(parsed) is None)


def _uid(parsed: dicom.Parsed, level: str) -> str:
    found = dicom.text(parsed.dataset, f"{level}InstanceUID")
    if found is None:
        raise UnreadableError(f"the object has no {level} Instance UID", hint="send it with one")
    if not UID.fullmatch(found):
        raise UnreadableError(f"the {level} Instance UID {found[:64]!r} is none", hint="digits and dots, 64 at most")
    return found


def _flushed(path: Path) -> str:
    """The digest of an object whose preamble is zeroed and which is on the disk.

    It is taken of transfer syntax and data set alone: meta information says who sent it, and by which program.
    """
    digest = hashlib.sha256()
    with path.open("r+b") as stream:
        head = stream.read(PREAMBLE + 16)
        start = 0
        if head[PREAMBLE : PREAMBLE + 4] == b"DICM":
            stream.seek(0)
            stream.write(bytes(PREAMBLE))
            meta = head[PREAMBLE + 4 :]
            if meta[:8] == b"\x02\x00\x00\x00UL\x04\x00":  # (0002,0000), the length of the rest (PS3.10 7.1)
                start = PREAMBLE + 16 + int.from_bytes(meta[8:12], "little")
                digest.update(_syntax(path))
        stream.seek(start)
        for piece in iter(lambda: stream.read(PIECE), b""):
            digest.update(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _syntax(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(read_file_meta_info(path).get("TransferSyntaxUID", "")).encode()
