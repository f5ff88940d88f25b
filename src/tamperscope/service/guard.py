"""Connections that ask nothing, or too slowly, or too many at once, are closed before they cost anything.

uvicorn bounds the head of a request in size and not in time, and does not count by host: this adds both.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from tamperscope.service.config import Server


def protocol(server: Server) -> type[Guarded]:
    """The protocol of a server that is bounded as ``server`` says."""
    return type("Guarded", (Guarded,), {"bounds": server, "open": Counter()})


class Guarded(H11Protocol):
    """One connection."""

    bounds: ClassVar[Server] = Server()
    open: ClassVar[Counter[str]] = Counter()
    """Connections by host; the proxies' are not counted."""
    _late: asyncio.TimerHandle | None = None
    _host = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and wait for the head of its first request."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self._host = "" if _within(host, self.bounds.proxies) else host
        if self._host:
            self.open[self._host] += 1
            if self.open[self._host] > self.bounds.per_host:
                transport.abort()
                return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        self._heard()
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

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.bounds.request_s, self.transport.abort)

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _within(host: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
