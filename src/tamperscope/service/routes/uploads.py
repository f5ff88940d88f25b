"""Handing in: declared, sent in pieces, completed; or a single file in one request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tamperscope.errors import UsageError
from tamperscope.service.accounts import Identity
from tamperscope.service.routes.common import PROBLEMS, Id, Submitter, TheService, stated_bytes
from tamperscope.service.schemas import Behind, Received, UploadIn, UploadOut
from tamperscope.service.service import Service
from tamperscope.service.uploads import Declared, Upload

router = APIRouter(prefix="/api/v1", tags=["handing in"], responses=PROBLEMS)
UploadName = Annotated[str, Query(min_length=1, max_length=1000, pattern=r"^[^\x00]+$", examples=["case17.zip"])]
BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ANY_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/zip", "application/dicom", "image/png", "application/octet-stream")
        },
    }
}


def told(service: Service, upload: Upload) -> UploadOut:
    """An upload as the interface tells it."""
    result = upload.result or {}
    files = service.uploads.files(upload.id) if upload.state == "open" else None
    facts = {name: result.get(name, []) for name in ("studies", "skipped", "failed")}
    stated = {name: getattr(upload, name) for name in UploadOut.model_fields if hasattr(upload, name)}
    return UploadOut.model_validate({**stated, **facts, "files": files})


@router.post("/uploads", status_code=201)
def begin(wanted: UploadIn, service: TheService, identity: Submitter) -> UploadOut:
    """Begin an upload: say which files are to come. What is too much is refused here, before anything is sent."""
    files = [Declared(file.name, file.bytes) for file in wanted.files]
    return told(service, service.uploads.begin(identity.name, wanted.name, files))


@router.get("/uploads/{upload}")
def one(upload: Id, service: TheService, identity: Submitter) -> UploadOut:
    """See how much of each file has come, and later which studies were found in them."""
    return told(service, _own(service, upload, identity))


@router.patch("/uploads/{upload}/files/{number}", openapi_extra=BINARY, responses={409: {"model": Behind}})
async def append(
    upload: Id,
    number: Annotated[int, Path(ge=0, le=1_000_000, examples=[0])],
    request: Request,
    service: TheService,
    identity: Submitter,
    offset: Annotated[int, Query(ge=0, le=1 << 50, description="Where the piece begins.")] = 0,
) -> Received:
    """Send a piece of a file: the bytes as they are, of any length.

    What has come stays when the connection breaks; the next piece begins where the file ends.
    """
    await run_in_threadpool(_own, service, upload, identity)
    try:
        pieces, stated = request.stream(), stated_bytes(request)
        return Received(received=await service.uploads.append(upload, number, offset, pieces, stated))
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection broke off") from error


@router.post("/uploads/{upload}/complete", status_code=202)
def complete(upload: Id, service: TheService, identity: Submitter) -> UploadOut:
    """Say that everything was sent. From this answer on it is kept, whatever happens to the service."""
    _own(service, upload, identity)
    done = service.uploads.complete(upload)
    service.audit.write("uploaded", upload=upload, user=identity.name, bytes=done.bytes)
    return told(service, done)


@router.delete("/uploads/{upload}", status_code=204)
def cancel(upload: Id, service: TheService, identity: Submitter) -> Response:
    """Forget an upload that is not complete."""
    _own(service, upload, identity)
    service.uploads.cancel(upload)
    return Response(status_code=204)


@router.post("/studies", status_code=202, openapi_extra=ANY_FILE)
async def hand_in(
    request: Request,
    service: TheService,
    identity: Submitter,
    name: UploadName = "study",
) -> UploadOut:
    """Hand in one file, for example a zip with the whole study, in one request: for scripts.

    ``curl --data-binary @case17.zip -H "Authorization: Bearer $TOKEN" ".../api/v1/studies?name=case17.zip"``
    """
    uploads = service.uploads
    size = stated_bytes(request)
    if size is None:
        size = min(await run_in_threadpool(uploads.room, identity.name), service.config.limits.file_bytes)
    upload = await run_in_threadpool(uploads.begin, identity.name, name, [Declared(name, size)])
    try:
        received = await uploads.append(upload.id, 0, 0, _some(request.stream()))
        await run_in_threadpool(uploads.settle, upload.id, [Declared(name, received)])
        done = await run_in_threadpool(uploads.complete, upload.id)
    except BaseException:
        # Whoever breaks off here begins anew: there is no number under which to go on.
        with suppress(UsageError):
            await run_in_threadpool(uploads.cancel, upload.id)
        raise
    service.audit.write("uploaded", upload=upload.id, user=identity.name, bytes=done.bytes)
    return await run_in_threadpool(told, service, done)


async def _some(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    empty = True
    try:
        async for piece in pieces:
            empty = empty and not piece
            yield piece
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection broke off") from error
    if empty:
        raise HTTPException(422, "the body is empty")


def _own(service: Service, upload: str, identity: Identity) -> Upload:
    """An upload of one's own; an administrator sees all."""
    one = service.uploads.one(upload)
    if one.owner != identity.name and not identity.may("administrator"):
        raise HTTPException(404, "there is no such upload")
    return one
