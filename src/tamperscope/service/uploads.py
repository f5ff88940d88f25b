"""What is handed in: declared first, then sent in pieces that may break off, then accepted, and kept from then on.

Nothing here looks into a file. How much of one has come is the size of the file on the disk and nothing else, so
whatever process dies, the sender asks and goes on from there.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import Engine, delete, func, insert, select, update

from tamperscope.errors import FullError, LimitError, UsageError
from tamperscope.jobs import database
from tamperscope.jobs.files import flush
from tamperscope.jobs.queue import Order, Queue
from tamperscope.jobs.tables import SCANS, UPLOAD_FILES, UPLOADS
from tamperscope.service.config import Limits

FOLDER = "uploads"
READ = "read"
"""The kind of the job that reads an upload."""
Origin = Literal["files", "stow"]
MOST_NAME, MOST_PART = 1000, 200
BATCH = 500
"""Rows of one INSERT: SQLite bounds the variables of a statement."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A file that is to come."""

    name: str
    """Relative, with forward slashes: what reports call it."""
    bytes: int


@dataclass(frozen=True, slots=True)
class File:
    """A file of an upload."""

    number: int
    name: str
    bytes: int
    received: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload, and what has come of it."""

    id: str
    owner: str
    name: str
    state: str
    bytes: int
    made: float
    changed: float
    error: str | None = None
    result: dict[str, Any] | None = None


class OffsetError(UsageError):
    """A piece does not begin where the file ends; ``received`` is where it does."""

    def __init__(self, offset: int, received: int) -> None:
        super().__init__(f"the piece begins at {offset}, the file ends at {received}", hint="send from there on")
        self.received = received


class MissingError(UsageError):
    """What is asked for is not there."""


@dataclass
class Uploads:
    """Uploads in the database and below ``folder``."""

    folder: Path
    engine: Engine
    limits: Limits
    now: Callable[[], float] = time.time
    _locks: dict[tuple[str, int], tuple[asyncio.Lock, int]] = field(default_factory=dict, init=False, repr=False)

    def place(self, upload: str) -> Path:
        """The folder of an upload."""
        return self.folder / FOLDER / upload

    def begin(self, owner: str, name: str, files: Sequence[Declared], origin: Origin = "files") -> Upload:
        """Make an upload of the files that are declared.

        Raises:
            LimitError: it asks for more than one upload or one user may.
            FullError: the disk is nearly full.
            UsageError: it declares no file.
        """
        total = self._fitting(files, origin)
        self._room(owner, total)
        upload, now = secrets.token_hex(16), self.now()
        values = {"id": upload, "owner": owner, "name": cleaned(name), "origin": origin, "state": "open"}
        rows = [
            {"upload": upload, "number": number, "name": cleaned(file.name), "bytes": file.bytes}
            for number, file in enumerate(files)
        ]
        self.place(upload).mkdir(parents=True)
        with self.engine.begin() as connection:
            connection.execute(insert(UPLOADS).values(**values, bytes=total, made=now, changed=now))
            for first in range(0, len(rows), BATCH):
                connection.execute(insert(UPLOAD_FILES), rows[first : first + BATCH])
        return self.one(upload)

    def _fitting(self, files: Sequence[Declared], origin: Origin) -> int:
        total, limits = sum(file.bytes for file in files), self.limits
        if not files:
            raise UsageError("the upload has no files", hint="declare at least one")
        if len(files) > limits.files:
            raise LimitError(f"{len(files)} files are more than {limits.files}", hint="send them in parts, or as a zip")
        # One request of STOW-RS has many files; how large each may be is seen as they come.
        largest = max(file.bytes for file in files) if origin == "files" else 0
        if largest > limits.file_bytes or total > limits.upload_bytes:
            what = f"{largest} bytes in one file, {total} in all"
            hint = f"at most {limits.file_bytes} in one and {limits.upload_bytes} in all are taken"
            raise LimitError(what, hint=hint)
        return total

    def room(self, owner: str) -> int:
        """How many bytes this user may send at most in one request, where nobody says how many will come."""
        limits = self.limits
        used, _ = self._used(owner)
        free = shutil.disk_usage(self.folder).free - limits.free_bytes
        # One byte, which `begin` refuses and says why, where there is no room at all.
        return max(min(limits.upload_bytes, limits.user_bytes - used, free), 1)

    def _room(self, owner: str, total: int) -> None:
        limits = self.limits
        if shutil.disk_usage(self.folder).free - total < limits.free_bytes:
            raise full()
        used, count = self._used(owner)
        if count >= limits.open_uploads:
            hint = "finish or cancel one first"
            raise LimitError(f"{count} uploads are under way, {limits.open_uploads} may be", hint=hint)
        if used + total > limits.user_bytes:
            what = f"the studies of {owner} would take {used + total} bytes"
            raise LimitError(what, hint=f"{limits.user_bytes} are allowed: delete some")

    def _used(self, owner: str) -> tuple[int, int]:
        """Bytes of a user's studies and of the uploads that are under way, and how many uploads these are."""
        kept = select(func.coalesce(func.sum(SCANS.c.bytes), 0)).where(SCANS.c.owner == owner)
        coming = select(func.coalesce(func.sum(UPLOADS.c.bytes), 0), func.count()).where(
            UPLOADS.c.owner == owner, UPLOADS.c.state.in_(("open", "received"))
        )
        with database.reading(self.engine) as connection:
            used = int(connection.execute(kept).scalar_one())
            under_way, count = connection.execute(coming).one()
        return used + int(under_way), int(count)

    async def append(
        self, upload: str, number: int, offset: int, pieces: AsyncIterator[bytes], stated: int | None = None
    ) -> int:
        """Add to a file, from ``offset`` on; how many bytes of it are there then.

        ``stated`` is how many the sender says will come: too many are refused before they do.

        Raises:
            MissingError: there is no such file.
            OffsetError: the file does not end at ``offset``.
            LimitError: more comes than was declared.
            UsageError: the upload takes nothing any more.
            FullError: the disk is full.
        """
        # In a thread: a database that is busy must not keep all others waiting.
        file = await asyncio.to_thread(self._open, upload, number)
        async with self._alone(upload, number):
            try:
                received = await _appended(self.place(upload) / str(number), file, offset, pieces, stated or 0)
            except FileNotFoundError as error:
                raise MissingError("there is no such upload", hint="it was cancelled meanwhile") from error
            except OSError as error:
                raise full() from error
        await asyncio.to_thread(self._touch, upload)
        return received

    @asynccontextmanager
    async def _alone(self, upload: str, number: int) -> AsyncIterator[None]:
        """One sender at a time for each file; its lock is there as long as somebody holds it or waits for it."""
        key = upload, number
        lock, senders = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, senders + 1
        try:
            async with lock:
                yield
        finally:
            lock, senders = self._locks.pop(key)
            if senders > 1:
                self._locks[key] = lock, senders - 1

    def _open(self, upload: str, number: int) -> File:
        one = self.one(upload)
        if one.state != "open":
            raise UsageError(f"the upload is {one.state}: it takes nothing any more", hint="begin another one")
        query = select(UPLOAD_FILES).where(UPLOAD_FILES.c.upload == upload, UPLOAD_FILES.c.number == number)
        with database.reading(self.engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise MissingError(f"the upload has no file {number}", hint="see its list of files")
        return File(number, row["name"], row["bytes"], 0)

    def _touch(self, upload: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(UPLOADS).where(UPLOADS.c.id == upload).values(changed=self.now()))

    def settle(self, upload: str, files: Sequence[Declared]) -> None:
        """Say which files have come, where that could not be known beforehand: `begin` declared at least as much."""
        rows = [
            {"upload": upload, "number": number, "name": cleaned(file.name), "bytes": file.bytes}
            for number, file in enumerate(files)
        ]
        total = sum(file.bytes for file in files)
        with self.engine.begin() as connection:
            connection.execute(delete(UPLOAD_FILES).where(UPLOAD_FILES.c.upload == upload))
            for first in range(0, len(rows), BATCH):
                connection.execute(insert(UPLOAD_FILES), rows[first : first + BATCH])
            connection.execute(update(UPLOADS).where(UPLOADS.c.id == upload).values(bytes=total, changed=self.now()))

    def complete(self, upload: str) -> Upload:
        """Accept an upload all of which has come: it is on the disk, and its reading is on the table of jobs.

        Raises:
            MissingError: there is none.
            UsageError: something is missing.
        """
        one, files = self.one(upload), self.files(upload)
        if one.state != "open":
            return one
        short = [file for file in files if file.received != file.bytes]
        if short:
            what = f"{len(short)} of {len(files)} files are not complete, the first is number {short[0].number}"
            raise UsageError(what, hint="send what is missing")
        place = self.place(upload)
        flush((*(place / str(file.number) for file in files), place, place.parent))
        with self.engine.begin() as connection:
            mine = update(UPLOADS).where(UPLOADS.c.id == upload, UPLOADS.c.state == "open")
            if connection.execute(mine.values(state="received", changed=self.now())).rowcount:
                Queue(self.engine, now=self.now).add_in(connection, Order(READ, f"{READ}:{upload}", {"upload": upload}))
        return self.one(upload)

    def one(self, upload: str) -> Upload:
        """An upload.

        Raises:
            MissingError: there is none.
        """
        with database.reading(self.engine) as connection:
            row = connection.execute(select(UPLOADS).where(UPLOADS.c.id == upload)).mappings().one_or_none()
        if row is None:
            raise MissingError("there is no such upload", hint="it was cancelled, or given up after a while")
        return _upload(row)

    def files(self, upload: str) -> list[File]:
        """Its files, and how much of each has come."""
        query = select(UPLOAD_FILES).where(UPLOAD_FILES.c.upload == upload).order_by(UPLOAD_FILES.c.number)
        with database.reading(self.engine) as connection:
            rows = connection.execute(query).mappings().all()
        place = self.place(upload)
        return [File(row["number"], row["name"], row["bytes"], _size(place / str(row["number"]))) for row in rows]

    def changed(self, since: float) -> list[Upload]:
        """Those that changed at or after a moment."""
        with database.reading(self.engine) as connection:
            rows = connection.execute(select(UPLOADS).where(UPLOADS.c.changed >= since).order_by(UPLOADS.c.changed))
            return [_upload(row) for row in rows.mappings()]

    def cancel(self, upload: str) -> None:
        """Forget an upload that was not accepted yet, with all that has come of it.

        Raises:
            MissingError: there is none.
            UsageError: it was accepted.
        """
        self.one(upload)
        with self.engine.begin() as connection:
            gone = connection.execute(delete(UPLOADS).where(UPLOADS.c.id == upload, UPLOADS.c.state == "open")).rowcount
            if gone:
                connection.execute(delete(UPLOAD_FILES).where(UPLOAD_FILES.c.upload == upload))
        if not gone:
            raise UsageError("the upload was accepted already", hint="delete its studies")
        shutil.rmtree(self.place(upload), ignore_errors=True)

    def sweep(self, abandoned_s: float) -> int:
        """Cancel what has not gone on for so long, and remove folders that nothing knows of; how many."""
        with database.reading(self.engine) as connection:
            known = set(connection.execute(select(UPLOADS.c.id)).scalars())
            old = select(UPLOADS.c.id).where(UPLOADS.c.state == "open", UPLOADS.c.changed < self.now() - abandoned_s)
            stale = list(connection.execute(old).scalars())
            ended = UPLOADS.c.state.in_(("read", "failed"))
            over = list(connection.execute(select(UPLOADS.c.id).where(ended)).scalars())
        for upload in stale:
            self.cancel(upload)
        failed = (UPLOADS.c.state == "failed", UPLOADS.c.changed < self.now() - abandoned_s)
        with self.engine.begin() as connection:
            connection.execute(delete(UPLOADS).where(*failed))
            connection.execute(delete(UPLOAD_FILES).where(UPLOAD_FILES.c.upload.not_in(select(UPLOADS.c.id))))
        for upload in over:  # a reader that died left them
            shutil.rmtree(self.place(upload), ignore_errors=True)
        root = self.folder / FOLDER
        for path in root.iterdir() if root.is_dir() else ():
            # Young ones may be about to get their row.
            if path.name not in known and path.stat().st_mtime < self.now() - abandoned_s:
                shutil.rmtree(path, ignore_errors=True)
        return len(stale)


async def _appended(path: Path, file: File, offset: int, pieces: AsyncIterator[bytes], stated: int) -> int:
    """Write pieces behind what is there; the size of the file then."""
    size = offset
    with path.open("ab") as stream:
        if stream.tell() != offset:
            raise OffsetError(offset, stream.tell())
        if offset + stated > file.bytes:
            raise _too_long(file)
        async for piece in pieces:
            size += len(piece)
            if size > file.bytes:
                raise _too_long(file)
            await asyncio.to_thread(_written, stream, piece)  # a disk that is busy keeps nobody else waiting
    return size


def _written(stream: BinaryIO, piece: bytes) -> None:
    stream.write(piece)
    # What was written stays if the sender goes away, or this process is killed.
    stream.flush()


def _too_long(file: File) -> LimitError:
    return LimitError(f"file {file.number} has more than its {file.bytes} bytes", hint="declare more")


def full() -> FullError:
    """There is no room left on the disk."""
    return FullError("the disk of the service is nearly full", hint="delete studies, or try again later")


def _upload(row: Any) -> Upload:
    names = ("id", "owner", "name", "state", "bytes", "made", "changed", "error", "result")
    return Upload(*(row[name] for name in names))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def storable(text: str) -> str:
    """A text from a file as every database takes it: PostgreSQL no zero byte, SQLite no half of a character."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


def cleaned(name: str) -> str:
    """A name from outside as a relative path that stays where it is put, of parts that every file system takes."""
    parts = []
    for part in re.split(r"[/\\]+", name):
        part = re.sub(r"[\x00-\x1f\x7f:*?\"<>|]", "_", part).strip()
        while len(part.encode("utf-8", "replace")) > MOST_PART:
            part = part[: -(1 + len(part) // 20)]
        if part not in ("", ".", ".."):
            parts.append(part.encode("utf-8", "replace").decode())
    kept = "/".join(parts)
    return kept if kept and len(kept.encode()) <= MOST_NAME else (parts[-1] if parts else "file")


def placed(folder: Path, name: str, number: int) -> Path:
    """Where a file called ``name`` goes: as it is called, or into a folder by its number where that place is taken."""
    target, spare = folder / name, f"file-{number}"
    while target.exists() or any(parent.is_file() for parent in target.parents):
        target, spare = folder / spare / Path(name).name, f"{spare}_"
    return target
