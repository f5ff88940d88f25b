"""The application: its routes, its gate, and how errors are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.staticfiles import StaticFiles

from tamperscope import __version__
from tamperscope.errors import FullError, LimitError, TamperscopeError, UsageError
from tamperscope.service import pages
from tamperscope.service.gate import PROGRAMS, Gate, away, problem
from tamperscope.service.keeping import Keeper
from tamperscope.service.routes import accounts, comparisons, events, models, sessions, stow, studies, uploads
from tamperscope.service.service import Service
from tamperscope.service.uploads import MissingError, OffsetError

STATIC = Path(__file__).parent / "static"
HINTS = {
    401: "log in, or send a token: Authorization: Bearer ...",
    403: "ask an administrator",
    404: "check the address",
    405: "see the OpenAPI description for what this address takes",
    408: "send it again",
    409: "see the state of the thing",
    413: "send less at a time",
    415: "see the OpenAPI description for what this address takes",
    429: "wait as long as Retry-After says",
    503: "try again later",
}
STATUS: tuple[tuple[type[TamperscopeError], int], ...] = (
    (MissingError, 404),
    (OffsetError, 409),
    (LimitError, 413),
    (FullError, 507),
    (UsageError, 409),
    (TamperscopeError, 500),
)
"""The first that fits."""
NO_CACHE = {"cache-control": "no-cache"}
"""Browsers keep a file and ask whether it is still the one: the viewer has 3 MB."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SUMMARY = "Hand in studies, see whether and where they were altered. Research use only, not for diagnosis."


def make(service: Service) -> FastAPI:
    """The application of a service."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.events.run()), asyncio.create_task(Keeper(service).run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="tamperscope",
        version=__version__,
        summary=SUMMARY,
        lifespan=life,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they would fetch their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    for part in (uploads, studies, comparisons, models, accounts, events, stow, sessions, pages):
        app.include_router(part.router)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.mount("/static", _Static(directory=STATIC), name="static")
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.openapi = _described(app)  # type: ignore[method-assign]
    app.add_middleware(Gate, service=service)
    return app


class _Static(StaticFiles):
    """Files of the page, which unlike its answers may be kept."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers.update(NO_CACHE)
        return answer


def _healthz() -> dict[str, str]:
    """For a load balancer: the web process answers."""
    return {"status": "ok"}


def _described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The OpenAPI description, with how callers prove who they are."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            tree = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            schemes = {"token": {"type": "http", "scheme": "bearer", "description": "A token of /account."}}
            tree.setdefault("components", {})["securitySchemes"] = schemes
            tree["security"] = [{"token": []}]
            app.openapi_schema = tree
        return app.openapi_schema

    return openapi


async def _tamperscope(request: Request, error: TamperscopeError) -> Response:
    status = next(code for kind, code in STATUS if isinstance(error, kind))
    if isinstance(error, OffsetError):
        return JSONResponse({"error": error.message, "hint": error.hint, "received": error.received}, status)
    return _said(request, status, error.message, error.hint)


async def _http(request: Request, error: HTTPException) -> Response:
    hint = HINTS.get(error.status_code, "")
    headers = {"allow": _allowed(request)} if error.status_code == 405 else error.headers
    return _said(request, error.status_code, str(error.detail), hint, headers)


def _allowed(request: Request) -> str:
    """The methods of an address (RFC 9110 15.5.6): the router names those of one of its routes alone."""
    routes, scope = request.app.router.routes, request.scope
    found = (one for one in METHODS if any(r.matches({**scope, "method": one})[0] is Match.FULL for r in routes))
    return ", ".join(found)


def _said(request: Request, status: int, error: str, hint: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the caller can read it: programs get JSON, people a page."""
    if request.url.path.startswith(PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        return problem(status, error, hint, headers)
    page = pages.failure(getattr(request.state, "identity", None), status, error, hint)
    page.headers.update(headers or {})
    return page


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    """What a request gets wrong, without repeating what it said: that could be anything, of anybody."""
    first = error.errors()[0]
    # The name of a field that is not known comes from the caller too.
    place = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    where = ".".join(str(part) for part in place if not isinstance(part, int))
    return problem(422, f"{where}: {first['msg']}", "see the OpenAPI description")


async def _away(_: Request, __: Exception) -> Response:
    return away()


async def _unfit(_: Request, __: Exception) -> Response:
    return problem(422, "a value cannot be looked up", "see the OpenAPI description")


_HANDLERS: dict[type[Exception], Callable[..., Any]] = {
    TamperscopeError: _tamperscope,
    HTTPException: _http,
    RequestValidationError: _invalid,
    OperationalError: _away,
    DataError: _unfit,
}
