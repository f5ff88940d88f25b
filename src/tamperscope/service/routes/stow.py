"""STOW-RS: instances by DICOMweb (PS3.18 10.5). Parts are written to files as they come; a worker looks into them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path as FilePath
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Path, Request, Response
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tamperscope.errors import LimitError, UsageError
from tamperscope.service.config import Limits
from tamperscope.service.reading import ANY_STUDY
from tamperscope.service.routes.common import PROBLEMS, Submitter, TheService, stated_bytes
from tamperscope.service.schemas import Problem
from tamperscope.service.service import Service
from tamperscope.service.uploads import Declared, Upload, full

JSON_TYPE = "application/dicom+json"
BUSY: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "No worker had time to look at them; they are kept."}
}
NOT_ACCEPTABLE: dict[int | str, dict[str, Any]] = {406: {"model": Problem, "description": "The caller takes no JSON."}}
router = APIRouter(prefix="/dicomweb", tags=["DICOMweb"], responses={**PROBLEMS, **NOT_ACCEPTABLE, **BUSY})
READ_S, LOOK_S = 60.0, 0.05
"""How long a request waits until a worker has looked at its instances."""
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {'multipart/related; type="application/dicom"': {"schema": {"type": "string", "format": "binary"}}},
    }
}
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "All instances are kept.", "content": {JSON_TYPE: {"schema": {"type": "object"}}}},
    202: {"description": "Some are kept.", "content": {JSON_TYPE: {"schema": {"type": "object"}}}},
    409: {"description": "None is kept."},
}
StudyUid = Annotated[str, Path(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64, examples=["1.2.826.0.1.3680043.8.498.1"])]


@router.post("/studies", openapi_extra=BODY, responses=ANSWER, response_class=Response)
async def store(request: Request, service: TheService, identity: Submitter) -> Response:
    """Store instances of any study. A study is judged when no more of it comes for a while."""
    return await _store(request, service, identity.name, ANY_STUDY)


@router.post("/studies/{study}", openapi_extra=BODY, responses=ANSWER, response_class=Response)
async def store_in(study: StudyUid, request: Request, service: TheService, identity: Submitter) -> Response:
    """Store instances of one study; those of another are refused."""
    return await _store(request, service, identity.name, study)


async def _store(request: Request, service: Service, owner: str, study: str) -> Response:
    boundary = _boundary(request.headers.get("content-type", ""))
    if not _acceptable(request.headers.get("accept", "*/*")):
        raise HTTPException(406, f"the answer is {JSON_TYPE}")
    uploads = service.uploads
    size = stated_bytes(request)
    if size is None:
        size = await run_in_threadpool(uploads.room, owner)
    upload = await run_in_threadpool(uploads.begin, owner, study, [Declared("instances", size)], "stow")
    try:
        parts = Parts(uploads.place(upload.id), service.config.limits, size)
        await _received(request.stream(), parts, boundary)
        came = [Declared(f"{number}.dcm", size) for number, size in enumerate(parts.sizes)]
        await run_in_threadpool(uploads.settle, upload.id, came)
        await run_in_threadpool(uploads.complete, upload.id)
    except BaseException:
        with suppress(UsageError):
            await run_in_threadpool(uploads.cancel, upload.id)
        raise
    service.audit.write("uploaded", upload=upload.id, user=owner, instances=len(parts.sizes))
    return _answer(await _read(service, upload))


async def _received(stream: AsyncIterator[bytes], parts: Parts, boundary: bytes) -> None:
    parser = MultipartParser(boundary, parts.callbacks())
    try:
        async for piece in stream:
            parser.write(piece)
        parser.finalize()
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection broke off") from error
    except MultipartParseError as error:
        raise HTTPException(400, "the body is no multipart/related of that boundary") from error
    except OSError as error:
        raise full() from error
    finally:
        parts.close()
    if not parts.whole:
        raise HTTPException(400, "the body ends before its last boundary")
    if not parts.sizes:
        raise HTTPException(400, "the body has no parts")


@dataclass
class Parts:
    """Writes each part of a body into a file of ``folder``, called by its number."""

    folder: FilePath
    limits: Limits
    most: int
    """Bytes of all of them."""
    sizes: list[int] = field(default_factory=list)
    whole: bool = False
    _open: BinaryIO | None = None
    _total: int = 0

    def callbacks(self) -> Any:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self.close,
            "on_end": self._end,
        }

    def close(self) -> None:
        """End a part."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _begin(self) -> None:
        if len(self.sizes) >= self.limits.files:
            raise LimitError(f"more than {self.limits.files} instances", hint="send them in several requests")
        self._open = (self.folder / str(len(self.sizes))).open("wb")
        self.sizes.append(0)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._total += end - start
        self.sizes[-1] += end - start
        if self._total > self.most or self.sizes[-1] > self.limits.file_bytes:
            raise LimitError("the body is larger than an upload may be", hint="send it in several requests")
        if self._open is not None:
            self._open.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self.whole = True


async def _read(service: Service, upload: Upload) -> list[dict[str, Any]]:
    """What a worker found the instances to be."""
    end = asyncio.get_running_loop().time() + READ_S
    while asyncio.get_running_loop().time() < end:
        one = await run_in_threadpool(service.uploads.one, upload.id)
        if one.state in ("read", "failed"):
            found: list[dict[str, Any]] = (one.result or {}).get("instances", [])
            if one.result is not None:
                return found
            break
        await asyncio.sleep(LOOK_S)
    raise HTTPException(503, "the instances are kept, and were not looked at in time", {"retry-after": "60"})


def _answer(instances: list[dict[str, Any]]) -> Response:
    """The store instances response (PS3.18 10.5.3, as of annex F of JSON)."""
    kept = [_item(one) for one in instances if one["reason"] is None]
    failed = [_item(one) | {"00081197": _value("US", one["reason"])} for one in instances if one["reason"] is not None]
    told: dict[str, Any] = {}
    if kept:
        told["00081199"] = {"vr": "SQ", "Value": kept}
    if failed:
        told["00081198"] = {"vr": "SQ", "Value": failed}
    status = 200 if not failed else 202 if kept else 409
    return Response(json.dumps(told), status, media_type=JSON_TYPE)


def _item(one: dict[str, Any]) -> dict[str, Any]:
    """Referenced SOP Class and Instance UID."""
    found = {"00081150": one["class"], "00081155": one["uid"]}
    return {tag: _value("UI", value) for tag, value in found.items() if value}


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/related":
        raise HTTPException(415, "instances are taken as multipart/related")
    kind, boundary = message.get_param("type"), message.get_boundary()
    if str(kind or "application/dicom").lower() != "application/dicom":
        raise HTTPException(415, "parts are taken as application/dicom")
    if not boundary or len(boundary) > 200:
        raise HTTPException(400, "the content type names no boundary")
    return boundary.encode("latin-1", "replace")


def _acceptable(accept: str) -> bool:
    kinds = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    return bool(kinds & {JSON_TYPE, "application/json", "application/*", "*/*", ""})
