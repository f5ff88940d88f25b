"""Other ways in than C-STORE: the stable studies of an Orthanc, and folders that people or programs put files into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, select

from tamperscope.errors import DeliveryError, FullError, TamperscopeError
from tamperscope.jobs.audit import Audit
from tamperscope.jobs.deliver import password
from tamperscope.jobs.queue import inserted
from tamperscope.jobs.tables import CURSORS
from tamperscope.node.config import Folder, Orthanc
from tamperscope.node.store import Store

AT_ONCE = 100
PIECE = 1 << 20
TIMEOUT_S = 30.0
FAILED = "failed"


@dataclass(slots=True)
class OrthancPoller:
    """Reads ``/changes`` of an Orthanc from where it was, and fetches the studies that became stable."""

    settings: Orthanc
    store: Store
    audit: Audit
    _session: requests.Session = field(default_factory=requests.Session, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.settings.user:
            self._session.auth = (self.settings.user, password(self.settings.password_file))

    def poll(self) -> int:
        """Fetch what is new; how many instances came.

        Raises:
            DeliveryError: Orthanc cannot be reached or says no.
            FullError: the disk is nearly full; the same is fetched again next time.
        """
        came, name = 0, f"orthanc {self.settings.url}"
        last, done = int(_cursor(self.store.engine, name) or 0), False
        while not done:
            answer = self._changes(last)
            for change in answer["Changes"]:
                if change["ChangeType"] == "StableStudy":
                    came += self._fetch(str(change["ID"]))
            last, done = int(answer["Last"]), bool(answer["Done"])
            _set_cursor(self.store.engine, name, str(last))
        return came

    def _changes(self, last: int) -> Any:
        try:
            return self._json(f"/changes?since={last}&limit={AT_ONCE}")
        except (_GoneError, ValueError) as error:
            raise DeliveryError(f"{self.settings.url} is no Orthanc", hint="check its address") from error

    def _fetch(self, study: str) -> int:
        try:
            instances = self._json(f"/studies/{study}/instances")
        except _GoneError:
            return 0  # deleted since
        came = 0
        for instance in instances:
            try:
                with self._get(f"/instances/{instance['ID']}/file", stream=True) as answer:
                    kept = self.store.take(answer.iter_content(PIECE), self.settings.url)
            except _GoneError:
                continue
            except requests.RequestException as error:
                what = f"{self.settings.url} broke off ({type(error).__name__})"
                raise DeliveryError(what, hint="it is asked again") from error
            except FullError:
                raise
            except TamperscopeError as error:
                self.audit.write("refused", host=self.settings.url, reason=error.message)
                continue
            came += kept.new
        return came

    def _json(self, path: str) -> Any:
        return self._get(path).json()

    def _get(self, path: str, *, stream: bool = False) -> requests.Response:
        try:
            answer = self._session.get(self.settings.url.rstrip("/") + path, timeout=TIMEOUT_S, stream=stream)
        except requests.RequestException as error:
            what = f"{self.settings.url} cannot be reached ({type(error).__name__})"
            raise DeliveryError(what, hint="check its address, and that it runs") from error
        if answer.status_code == requests.codes.not_found:
            raise _GoneError(path)
        if not answer.ok:
            what = f"{self.settings.url} answers HTTP {answer.status_code}"
            raise DeliveryError(what, hint="check user and password_file")
        return answer


class _GoneError(Exception):
    """What was asked for is not there any more."""


@dataclass(slots=True)
class FolderWatcher:
    """Takes the files of a folder once they have not changed for a while."""

    settings: Folder
    store: Store
    audit: Audit
    now: Callable[[], float] = time.time

    def poll(self) -> int:
        """Move what is settled into the store, what cannot be read to ``failed``; how many instances came.

        Raises:
            FullError: the disk is nearly full; what is left stays where it is.
        """
        came = 0
        for path in self._settled():
            source = f"folder {self.settings.path.name}"
            try:
                with path.open("rb") as stream:
                    kept = self.store.take(iter(lambda stream=stream: stream.read(PIECE), b""), source)  # type: ignore[misc]
            except FullError:
                raise
            except (TamperscopeError, OSError) as error:
                self.audit.write("refused", host=source, reason=getattr(error, "message", type(error).__name__))
                self._put_aside(path)
                continue
            path.unlink(missing_ok=True)
            came += kept.new
        return came

    def _settled(self) -> Iterator[Path]:
        failed = self.settings.path / FAILED
        for path in sorted(self.settings.path.rglob("*")):
            if failed in path.parents or path.is_symlink() or not path.is_file():
                continue
            with suppress(FileNotFoundError):
                if self.now() - path.stat().st_mtime >= self.settings.settled_s:
                    yield path

    def _put_aside(self, path: Path) -> None:
        target = self.settings.path / FAILED / path.relative_to(self.settings.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(target)


def _cursor(engine: Engine, name: str) -> str | None:
    with engine.connect() as connection:
        return connection.execute(select(CURSORS.c.value).where(CURSORS.c.name == name)).scalar()


def _set_cursor(engine: Engine, name: str, value: str) -> None:
    with engine.begin() as connection:
        row = inserted(connection, CURSORS).values(name=name, value=value)
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
