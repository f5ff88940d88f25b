"""Connections that ask nothing, or read nothing, or too slowly, or too many at once, are closed before they cost much.

uvicorn bounds the head of a request in size and not in time, does not count by host, and lets answers wait for ever for
a reader: this adds all three, and tells what it refuses as the interface tells errors.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from contextlib import suppress
from typing import ClassVar

import h11
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tamperscope.service.config import Server
from tamperscope.service.gate import HEADERS, problem


def protocol(server: Server) -> type[Guarded]:
    """The protocol of a server that is bounded as ``server`` says."""
    return type("Guarded", (Guarded,), {"bounds": server, "open": Counter()})


class Guarded(H11Protocol):
    """One connection."""

    bounds: ClassVar[Server] = Server()
    open: ClassVar[Counter[str]] = Counter()
    """Connections by host; the proxies' are not counted."""
    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _host = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and wait for the head of its first request."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        proxy = _within(host, self.bounds.proxies)
        self._host = "" if proxy else host
        if self._host:
            self.open[self._host] += 1
            if self.open[self._host] > self.bounds.per_host:
                transport.abort()
                return
        if len(self.connections) > self.bounds.connections:
            self.app = _busy
        elif not proxy and _behind(self.bounds):
            self.app = _past
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        self._heard()
        self._read()
        if self._host:
            self.open[self._host] -= 1
            if self.open[self._host] <= 0:
                del self.open[self._host]

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a request is there."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._heard()
        elif self._late is None:
            self._wait()

    def on_response_complete(self) -> None:
        """From here on uvicorn's own time for idle connections runs."""
        super().on_response_complete()
        self._heard()

    def pause_writing(self) -> None:
        """The caller does not fetch its answer: wait for so long as for a body that stands still."""
        super().pause_writing()
        self._read()
        self._stuck = self.loop.call_later(self.bounds.idle_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        self._read()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered like any other error."""
        answer = _closing(problem(400, msg, "speak HTTP/1.1"))
        with suppress(h11.LocalProtocolError):  # an answer to what came before is under way
            self.transport.write(self.conn.send(h11.Response(status_code=400, headers=answer.raw_headers)))
            self.transport.write(self.conn.send(h11.Data(data=bytes(answer.body))))
            self.transport.write(self.conn.send(h11.EndOfMessage()))
        self.transport.close()

    def _read(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.bounds.request_s, self.transport.abort)

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _closing(answer: JSONResponse) -> JSONResponse:
    """An answer after which the connection ends, with the headers that the gate would give it."""
    answer.headers.update({**HEADERS, "connection": "close"})
    return answer


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    answer = _closing(problem(503, "too many connections", "try again later", {"retry-after": "5"}))
    await answer(scope, receive, send)


async def _past(scope: Scope, receive: Receive, send: Send) -> None:
    answer = _closing(problem(403, "the service is asked through its proxy alone", "open the address of the proxy"))
    await answer(scope, receive, send)


def _behind(server: Server) -> bool:
    """Whether only a proxy's callers come by HTTPS, and others could come without it."""
    return bool(server.proxies) and server.certificate is None and not server.loopback


def _within(host: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network) for network in networks)
