"""Users, tokens, sessions, and what they did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.exceptions import HTTPException

from tamperscope.jobs import audit
from tamperscope.service.accounts import LOCAL, Identity
from tamperscope.service.routes.common import PROBLEMS, Administrator, TheService, Viewer
from tamperscope.service.schemas import (
    IdentityOut,
    NewToken,
    PasswordIn,
    TokenIn,
    TokenOut,
    UserChange,
    UserIn,
    UserName,
    UserOut,
)
from tamperscope.service.service import Service
from tamperscope.service.uploads import MissingError

router = APIRouter(prefix="/api/v1", tags=["accounts"], responses=PROBLEMS)


def _person(request: Request) -> Identity:
    found: Identity | None = request.state.identity
    if found is None:
        raise HTTPException(401, "this needs a login")
    if not found.csrf and found.name != LOCAL:
        raise HTTPException(403, "a token may not do this: log in on the page")
    return found


Person = Annotated[Identity, Depends(_person)]
"""Somebody who logged in. A token that makes others, or sets the password, would outlive its own end."""
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", examples=["3f2504e04f8911d3"])]


@router.get("/me")
def me(identity: Viewer) -> IdentityOut:
    """Who you are."""
    return IdentityOut.model_validate(identity)


@router.post("/password", status_code=204)
def password(wanted: PasswordIn, service: TheService, identity: Person) -> Response:
    """Change your password; all your sessions end. Tokens cannot."""
    tries = f"old password of {identity.name}"
    if service.failures.wait(tries):
        raise HTTPException(429, "too many wrong passwords", {"retry-after": "60"})
    if not service.accounts.change_password(identity.name, wanted.old, wanted.new):
        raise HTTPException(403, "the old password is wrong")
    service.failures.back(tries)
    service.audit.write("user", user=identity.name, by=identity.name, change="password")
    return Response(status_code=204)


@router.get("/tokens")
def tokens(service: TheService, identity: Viewer) -> list[TokenOut]:
    """Your tokens."""
    return [TokenOut.model_validate(token) for token in service.accounts.tokens(identity.name)]


@router.post("/tokens", status_code=201)
def new_token(wanted: TokenIn, service: TheService, identity: Person) -> NewToken:
    """Make a token for a program. It has your role; it is told this once. Tokens make no tokens."""
    token, secret = service.accounts.new_token(identity.name, wanted.label, wanted.days)
    service.audit.write("token", user=identity.name, token=token.id, change="made")
    return NewToken(**TokenOut.model_validate(token).model_dump(), token=secret)


@router.delete("/tokens/{token}", status_code=204)
def drop_token(token: TokenId, service: TheService, identity: Viewer) -> Response:
    """Make a token of yours worthless."""
    if not service.accounts.drop_token(identity.name, token):
        raise MissingError("there is no such token", hint="see the list of yours")
    service.audit.write("token", user=identity.name, token=token, change="dropped")
    return Response(status_code=204)


@router.get("/users")
def users(service: TheService, _: Administrator) -> list[UserOut]:
    """All users."""
    return [UserOut.model_validate(user) for user in service.accounts.users()]


@router.post("/users", status_code=201)
def add_user(wanted: UserIn, service: TheService, identity: Administrator) -> UserOut:
    """Make a user. The first one has to be an administrator with a password, and ends the key of the run."""
    if not service.accounts.any() and (wanted.role != "administrator" or wanted.password is None):
        raise HTTPException(409, "the first user has to be an administrator with a password")
    service.accounts.add(wanted.name, wanted.role, wanted.password)
    service.audit.write("user", user=wanted.name, by=identity.name, change="made", role=wanted.role)
    return _user(service, wanted.name)


@router.patch("/users/{name}")
def change_user(name: UserName, wanted: UserChange, service: TheService, identity: Administrator) -> UserOut:
    """Change role or password of a user, or shut it out; its sessions end."""
    _user(service, name)
    service.accounts.change(name, role=wanted.role, password=wanted.password, disabled=wanted.disabled)
    what = sorted(key for key, value in wanted.model_dump().items() if value is not None)
    service.audit.write("user", user=name, by=identity.name, change=" ".join(what))
    return _user(service, name)


@router.delete("/users/{name}", status_code=204)
def remove_user(name: UserName, service: TheService, identity: Administrator) -> Response:
    """Remove a user; what it handed in stays."""
    _user(service, name)
    service.accounts.remove(name)
    service.audit.write("user", user=name, by=identity.name, change="removed")
    return Response(status_code=204)


@router.get("/audit")
def audit_log(
    service: TheService, _: Administrator, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> list[dict[str, Any]]:
    """The end of the audit log, the newest first."""
    return last_lines(service, limit)


def last_lines(service: Service, limit: int) -> list[dict[str, Any]]:
    """What happened last, the newest first."""
    return audit.newest(service.config.folder, limit)


def _user(service: Service, name: str) -> UserOut:
    for user in service.accounts.users():
        if user.name == name:
            return UserOut.model_validate(user)
    raise MissingError(f"there is no user {name}", hint="see the list of users")
