"""What routes share: the service, who asks, and which errors they may answer with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.exceptions import HTTPException

from tamperscope.service.accounts import Identity, Role
from tamperscope.service.schemas import Problem
from tamperscope.service.service import Service
from tamperscope.service.studies import StudyRow

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "It cannot be understood."},
    401: {"model": Problem, "description": "Nobody is logged in, or the token is not known."},
    403: {"model": Problem, "description": "The role does not allow it."},
    404: {"model": Problem, "description": "There is no such thing."},
    408: {"model": Problem, "description": "The body stood still."},
    409: {"model": Problem, "description": "It does not fit the state that the thing is in."},
    413: {"model": Problem, "description": "It is larger than is allowed."},
    415: {"model": Problem, "description": "It is of another type than is taken."},
    421: {"model": Problem, "description": "The service does not answer to that Host."},
    422: {"model": Problem, "description": "A value is missing or will not do."},
    429: {"model": Problem, "description": "Too many requests: wait as long as Retry-After says."},
    500: {"model": Problem, "description": "A fault of the service; its audit log says where."},
    503: {"model": Problem, "description": "The database is away, or there are too many connections."},
    507: {"model": Problem, "description": "The disk of the service is nearly full."},
}


def the_service(request: Request) -> Service:
    """What the application holds."""
    found: Service = request.app.state.service
    return found


def _needing(role: Role) -> Callable[[Request], Identity]:
    def who(request: Request) -> Identity:
        identity: Identity | None = request.state.identity
        if identity is None:
            raise HTTPException(401, "this needs a login")
        if not identity.may(role):
            raise HTTPException(403, f"this needs the role {role}")
        return identity

    return who


TheService = Annotated[Service, Depends(the_service)]
Viewer = Annotated[Identity, Depends(_needing("viewer"))]
Submitter = Annotated[Identity, Depends(_needing("submitter"))]
Administrator = Annotated[Identity, Depends(_needing("administrator"))]
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["3f2504e04f8911d39a0c0305e82c3301"])]


def stated_bytes(request: Request) -> int | None:
    """How long the body says it is; None if it does not."""
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else None


def owned(row: StudyRow, identity: Identity) -> StudyRow:
    """A study that somebody may change: its own, or any if it is an administrator."""
    if row.owner != identity.name and not identity.may("administrator"):
        raise HTTPException(403, "the study was handed in by somebody else")
    return row
