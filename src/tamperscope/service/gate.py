"""What every request passes: which host it asks, who asks, how often, whether a page of ours sent it, and how much.

Nothing behind the gate is reached without a name: a route that is forgotten here is closed, not open.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from fastapi import HTTPException  # starlette's own would become a 400 where FastAPI reads a body
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamperscope.jobs.worker import whereabouts
from tamperscope.service.accounts import Identity
from tamperscope.service.service import Service

AWAY = (OperationalError, InterfaceError, DisconnectionError, PoolTimeoutError)
"""What a database says that cannot be reached, or is asked too much at once."""
COOKIE, CSRF_HEADER = "tamperscope", "x-csrf-token"
OPEN = frozenset({"/login", "/enter", "/healthz", "/api/v1/openapi.json"})
OPEN_FOLDERS = ("/static/",)
PROGRAMS = ("/api/", "/dicomweb/")
"""Paths whose callers are answered with a status; others are pages, whose callers are sent to the login."""
FORM = "application/x-www-form-urlencoded"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGE = re.compile(r"/api/v1/uploads/[0-9a-f]+/files/[0-9]+|/api/v1/studies|/dicomweb/studies(/[0-9.]+)?")
"""Where bodies are files, whose size the uploads bound."""
MOST_BODY = 4 << 20
"""Of any other request: a list of 20,000 files fits."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers hide from us that a form of ours is ours
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise."""


class Gate:
    """ASGI middleware round the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = Guarded(send, secure=scope.get("scheme") == "https")
        try:
            refusal = await self._refusal(scope)
            if refusal is None:
                await self._app(scope, Bounded(receive, scope, self._service.config.server.idle_s), sending)
        except AWAY:
            refusal = away()
        except Exception as error:  # its message could hold what a study says; it goes nowhere
            self._service.audit.write("trouble", reason=whereabouts(error))
            refusal = problem(500, "something went wrong here", "tell whoever runs it: the audit log says where")
        if refusal is not None and not sending.begun:
            await refusal(scope, receive, sending)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if _host_of(headers) not in self._service.hosts:
            return problem(421, "this service does not answer to that name", "add it to hosts under [server]")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return problem(400, "the address has a zero byte", "leave it out")
        if headers.get("content-encoding", "identity") != "identity":
            return problem(415, "bodies are taken as they are, not compressed", "send a zip instead")
        if _declared(headers) > MOST_BODY and not LARGE.fullmatch(scope["path"]):
            return problem(413, f"the body is larger than {MOST_BODY} bytes", "files are sent to an upload")
        host = scope["client"][0] if scope.get("client") else ""
        identity, shown = await self._identity(scope, headers, host)
        scope.setdefault("state", {})["identity"] = identity
        return self._unknown(scope, host, shown=shown) if identity is None else self._known(scope, headers, identity)

    async def _identity(self, scope: Scope, headers: Headers, host: str) -> tuple[Identity | None, bool]:
        """Who asks, and whether anything was shown that should prove it."""
        token = bearer(headers)
        if token is not None:
            # A host that guesses is not listened to, but for tokens that were right before.
            guessing = self._service.failures.empty(f"token {host}") > 0.0
            if guessing and not self._service.accounts.seen(token):
                return None, True
            return await asyncio.to_thread(who, self._service, headers), True
        secret = cookie(headers)
        if not secret:
            return None, False
        scope.setdefault("state", {})["session"] = secret
        return await asyncio.to_thread(who, self._service, headers), False

    def _unknown(self, scope: Scope, host: str, *, shown: bool) -> Response | None:
        path = scope["path"]
        if shown:
            wait = self._service.failures.wait(f"token {host}")
            if wait:
                return _later(wait)
            self._service.denied("token", host, "unknown token")
            return problem(401, "the token is not known", "ask for a new one", {"www-authenticate": "Bearer"})
        wait = self._service.requests.wait(f"host {host}")
        if wait:
            return _later(wait)
        if path in OPEN or path.startswith(OPEN_FOLDERS):
            return None
        if path.startswith(PROGRAMS):
            hint = "send a token: Authorization: Bearer ..."
            return problem(401, "this needs a login", hint, {"www-authenticate": "Bearer"})
        return RedirectResponse(f"/login?next={quote(path)}", status_code=303)

    def _known(self, scope: Scope, headers: Headers, identity: Identity) -> Response | None:
        wait = self._service.requests.wait(f"user {identity.name}")
        if wait:
            return _later(wait)
        # A browser sends the cookie whoever made the page; the value that belongs to it, only a page of ours knows.
        # Forms of pages bring it in a field, which their routes compare.
        form = headers.get("content-type", "").startswith(FORM) and not scope["path"].startswith(PROGRAMS)
        unsafe = bool(identity.csrf) and scope["method"] not in SAFE and not form
        if unsafe and not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), identity.csrf.encode()):
            return problem(403, "the request does not come from a page of this service", "load the page anew")
        return None


class Bounded:
    """A body that may not stand still, nor grow beyond what its route takes."""

    def __init__(self, receive: Receive, scope: Scope, idle_s: float) -> None:
        self._receive = receive
        self._left = float("inf") if LARGE.fullmatch(scope["path"]) else MOST_BODY
        self._idle_s = idle_s
        self._whole = False

    async def __call__(self) -> Message:
        """The next message; once the body is whole, only the end of the connection is waited for, however long."""
        if self._whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._idle_s)
        except TimeoutError as error:
            raise HTTPException(408, "the body stands still", {"connection": "close"}) from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, f"the body is larger than {MOST_BODY} bytes", {"connection": "close"})
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def problem(status: int, error: str, hint: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as the interface tells it."""
    return JSONResponse({"error": error, "hint": hint}, status, headers=dict(headers or {}))


def away() -> JSONResponse:
    """While the database cannot be reached."""
    return problem(503, "the database is away", "try again later", {"retry-after": "5"})


def who(service: Service, headers: Headers) -> Identity | None:
    """Who asks, by token or cookie; None if that is nobody, or nobody any more."""
    token = bearer(headers)
    return service.accounts.by_session(cookie(headers)) if token is None else service.accounts.by_token(token)


def bearer(headers: Headers) -> str | None:
    """The token that is shown; None if there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def cookie(headers: Headers) -> str:
    """What our cookie holds; empty if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _later(wait: float) -> JSONResponse:
    return problem(429, "too many requests", f"wait {wait:.0f} s", {"retry-after": str(int(wait) + 1)})


def _declared(headers: Headers) -> int:
    stated = headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0


def _host_of(headers: Headers) -> str:
    """The name that is asked, without its port."""
    return re.sub(r":[0-9]+$", "", headers.get("host", "").lower()).strip("[]")


class Guarded:
    """Sends, with `HEADERS`, and knows whether an answer has begun."""

    def __init__(self, send: Send, *, secure: bool) -> None:
        self._send = send
        self._secure = secure
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._secure:
                headers.setdefault("strict-transport-security", "max-age=31536000")
        await self._send(message)
