"""Sessions of the page: with name and password, or by the key of a service that has no users yet."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from tamperscope.service.accounts import LOCAL, MOST_PASSWORD
from tamperscope.service.gate import COOKIE
from tamperscope.service.routes.common import TheService, Viewer
from tamperscope.service.service import Service

router = APIRouter(include_in_schema=False)
Field = Annotated[str, Form(max_length=1000, pattern=r"^[^\x00]*$")]


@router.post("/login")
def login(
    request: Request,
    service: TheService,
    name: Field,
    password: Field,
    next: Field = "/",  # noqa: A002 - field's name
) -> Response:
    """Begin a session with name and password."""
    host = request.client.host if request.client else ""
    _same_origin(request)
    # Taken before it is known to be wrong: many tries at once are many tries.
    bucket = f"password {host}"
    if service.failures.wait(bucket):
        raise HTTPException(429, "too many wrong passwords from this address", {"retry-after": "60"})
    secret = service.accounts.login(name, password[: MOST_PASSWORD + 1])
    if secret is None:
        service.denied("password", host, "wrong name or password")
        return RedirectResponse("/login?wrong=true", 303)
    service.failures.back(bucket)
    service.audit.write("login", user=name, host=host)
    return _begun(service, secret, next)


@router.get("/enter")
def enter(service: TheService, request: Request, key: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Begin a session with the key that the service printed when it was started."""
    host = request.client.host if request.client else ""
    if not service.accounts.is_key(key):
        # A page of another site can have a browser ask this; its guesses are not the browser's.
        foreign = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if not foreign:
            if service.failures.wait(f"key {host}"):
                raise HTTPException(429, "too many wrong keys from this address", {"retry-after": "60"})
            service.denied("key", host, "wrong key of the run")
        raise HTTPException(403, "the key is not the one of this run; see what tamperscope serve has printed")
    service.audit.write("login", user=LOCAL, host=host)
    return _begun(service, service.accounts.session(LOCAL), "/")


@router.post("/logout")
def logout(request: Request, service: TheService, identity: Viewer, csrf: Field = "") -> Response:
    """End a session."""
    if not hmac.compare_digest(csrf.encode(), identity.csrf.encode()):
        raise HTTPException(403, "the request does not come from a page of this service")
    service.accounts.logout(getattr(request.state, "session", ""))  # there is none where a token was shown
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/")
    answer.headers["clear-site-data"] = '"cache"'  # slices that the viewer fetched
    return answer


def _begun(service: Service, secret: str, target: str) -> Response:
    """To a page of this service, with a cookie that no script reads and no other site sends along."""
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    answer = RedirectResponse(target if own else "/", 303)
    seconds = int(service.config.storage.session_hours * 3600)
    secure = service.config.secure
    answer.set_cookie(COOKIE, secret, max_age=seconds, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _same_origin(request: Request) -> None:
    """Another site could log a person in as somebody else, and see what that person hands in."""
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://")[-1] != request.headers.get("host"):
        raise HTTPException(403, "the form does not come from a page of this service")
