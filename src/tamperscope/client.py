"""A client of ``tamperscope serve`` for programs: hand in, wait, fetch, review.

    from tamperscope.client import Client

    with Client("https://tamperscope.hospital.example", token) as client:
        for study in client.wait(client.submit("case17/")):
            print(study.name, study.verdict, study.probability)
            client.fetch(study, "report.pdf", "out/")

It needs ``pip install 'tamperscope[serve]'``, and nothing of the service itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tamperscope.errors import DeliveryError, MissingExtraError, RefusedError, UnreadableError, UsageError
from tamperscope.records import Report
from tamperscope.report import json as report_json
from tamperscope.report.files import save

PIECE = 4 << 20
"""Bytes that are sent at a time; what breaks off costs no more than this."""
TRIES, PAUSE_S = 5, 1.0
"""How often a piece is sent, with pauses that double in between."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What was handed in, and what became of it."""

    id: str
    name: str
    state: Literal["open", "received", "read", "failed"]
    studies: tuple[str, ...]
    """Numbers of the studies that were found in it."""
    failed: tuple[Mapping[str, str], ...]
    """Files that could not be used: source, error, hint."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Study:
    """A study of the service."""

    id: str
    name: str
    study_uid: str | None
    state: Literal["gathering", "waiting", "running", "done", "failed"]
    verdict: Literal["suspicious", "inconclusive", "no_evidence"] | None
    probability: float | None
    provenance: Literal["verified", "absent", "broken", "contradictory"] | None
    modalities: tuple[str, ...]
    slices: int
    opinion: str | None
    error: str | None


class Client:
    """A connection to a service; use it in a ``with`` statement."""

    def __init__(self, url: str, token: str, *, authorities: str | None = None, timeout_s: float = 60.0) -> None:
        """Connect when something is asked for.

        Args:
            url: Address of the page.
            token: One of /account.
            authorities: A PEM file with the CAs to trust; those of the system if None.
            timeout_s: How long to wait for an answer, in seconds.

        Raises:
            MissingExtraError: httpx2 is not installed.
        """
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise MissingExtraError("httpx2", "serve") from error
        import ssl

        self._errors, self._unconnected = httpx2.HTTPError, httpx2.ConnectError
        context = ssl.create_default_context(cafile=authorities)
        headers = {"authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=url, headers=headers, verify=context, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def submit(self, path: str | os.PathLike[str], *, name: str = "", resume: str = "") -> Upload:
        """Hand in a file, a zip, or all files below a folder. From its return on the service keeps them.

        Args:
            path: What to hand in; sent in pieces, each tried again if the connection breaks.
            name: What the study is called; the name of the file or folder if empty.
            resume: Number of an upload of the same files that broke off, which goes on.

        Raises:
            UnreadableError: there is nothing to hand in.
            RefusedError: the service does not take it: too large, no rights, over quota.
            DeliveryError: the service cannot be reached.
        """
        files = _files(Path(path))
        if not resume:
            declared = [{"name": inner, "bytes": file.stat().st_size} for inner, file in files.items()]
            begun = {"name": name or Path(path).resolve().name, "files": declared}
            resume = self._call("POST", "/api/v1/uploads", json=begun)["id"]
        known = self._call("GET", f"/api/v1/uploads/{resume}")
        for told, file in zip(known["files"] or (), files.values(), strict=False):
            self._send(f"/api/v1/uploads/{resume}/files/{told['number']}", file, told["received"])
        return _upload(self._call("POST", f"/api/v1/uploads/{resume}/complete"))

    def _send(self, address: str, file: Path, offset: int) -> None:
        with file.open("rb") as stream:
            stream.seek(offset)
            while piece := stream.read(PIECE):
                offset = self._call("PATCH", address, params={"offset": offset}, content=piece)["received"]
                stream.seek(offset)

    def upload(self, upload: str | Upload) -> Upload:
        """How an upload stands."""
        return _upload(self._call("GET", f"/api/v1/uploads/{_id(upload)}"))

    def wait(self, upload: str | Upload, *, timeout_s: float = 3600.0, look_s: float = 0.5) -> tuple[Study, ...]:
        """Wait until all studies of an upload are judged, or could not be.

        Raises:
            UnreadableError: nothing in it could be read.
            DeliveryError: it takes longer than ``timeout_s``, or the service cannot be reached.
        """
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            now = self.upload(upload)
            if now.state == "failed":
                raise UnreadableError(now.error or "nothing could be read", hint="see Upload.failed")
            if now.state == "read":
                found = tuple(self.study(one) for one in now.studies)
                if all(study.state in ("done", "failed") for study in found):
                    return found
            time.sleep(look_s)
        raise DeliveryError(f"the upload is not judged after {timeout_s:g} s", hint="wait longer; it is kept")

    def studies(self, **chosen: str | int | bool) -> Iterator[Study]:
        """Studies that fit ``state``, ``verdict``, ``modality``, ``opinion``, ``upload``, ``text``, by ``sort``."""
        offset = 0
        while True:
            page = self._call("GET", "/api/v1/studies", params={**chosen, "limit": 200, "offset": offset})
            yield from (_study(row) for row in page["studies"])
            offset += len(page["studies"])
            if not page["studies"] or offset >= page["total"]:
                return

    def study(self, study: str | Study) -> Study:
        """How a study stands."""
        return _study(self._call("GET", f"/api/v1/studies/{_id(study)}"))

    def report(self, study: str | Study) -> Report:
        """What was found, as `tamperscope.scan` gives it, without heat maps."""
        answer = self._answer("GET", f"/api/v1/studies/{_id(study)}/report.json")
        return report_json.parse(answer.text)

    def files(self, study: str | Study) -> tuple[str, ...]:
        """Names of the files with results."""
        return tuple(one["name"] for one in self._call("GET", f"/api/v1/studies/{_id(study)}/files"))

    def fetch(self, study: str | Study, name: str, folder: str | os.PathLike[str] = ".") -> Path:
        """Write a file with results into a folder."""
        if name != Path(name).name:
            raise UsageError(f"{name!r} is no name of a file", hint="take one of Client.files")
        answer = self._answer("GET", f"/api/v1/studies/{_id(study)}/files/{name}")
        save(Path(folder) / name, answer.content)
        return Path(folder) / name

    def review(self, study: str | Study, series: str, opinion: str, comment: str = "") -> None:
        """Say what a person thinks of a series: tampered, authentic or unsure."""
        told = {"series": series, "opinion": opinion, "comment": comment}
        self._call("POST", f"/api/v1/studies/{_id(study)}/reviews", json=told)

    def delete(self, study: str | Study) -> None:
        """Delete a study with everything that was made of it."""
        self._answer("DELETE", f"/api/v1/studies/{_id(study)}")

    def _call(self, method: str, address: str, **how: Any) -> Any:
        return self._answer(method, address, **how).json()

    def _answer(self, method: str, address: str, **how: Any) -> Any:
        """An answer of the service. A connection that breaks is tried again where saying a thing twice says it once."""
        once = method == "POST" and not address.endswith("/complete")
        for number in range(TRIES):
            try:
                answer = self._http.request(method, address, **how)
            except self._errors as error:
                if number + 1 == TRIES or (once and not isinstance(error, self._unconnected)):
                    what = f"the service cannot be reached: {error}"
                    raise DeliveryError(what, hint="check its address, and whether it runs") from error
            else:
                if answer.status_code == 409 and "received" in (told := answer.json()):
                    return answer if told["received"] is not None else _refused(answer)
                if answer.status_code not in (429, 502, 503):
                    return answer if answer.is_success else _refused(answer)
                if number + 1 == TRIES:
                    return _refused(answer)
            time.sleep(PAUSE_S * 2.0**number)
        raise AssertionError("unreachable")


def _refused(answer: Any) -> Any:
    """Raise what the service said.

    Raises:
        RefusedError: always.
    """
    try:
        told = answer.json()
        error, hint = str(told["error"]), str(told["hint"])
    except (ValueError, KeyError, TypeError):
        error, hint = f"the service answers {answer.status_code}", "check its address"
    raise RefusedError(error, hint=hint)


def _files(path: Path) -> dict[str, Path]:
    """Files by the names that reports give them."""
    if path.is_file():
        return {path.name: path}
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if not found:
        raise UnreadableError(f"{path}: no file there", hint="check the name")
    return {file.relative_to(path).as_posix(): file for file in found}


def _id(one: str | Upload | Study) -> str:
    return one if isinstance(one, str) else one.id


def _upload(tree: Mapping[str, Any]) -> Upload:
    failed = tuple(tree["failed"])
    return Upload(tree["id"], tree["name"], tree["state"], tuple(tree["studies"]), failed, tree["error"])


def _study(tree: Mapping[str, Any]) -> Study:
    return Study(**{name: tree[name] for name in Study.__slots__} | {"modalities": tuple(tree["modalities"])})
