"""The service as a whole: its processes, and the key that opens it while it has no users."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tamperscope.errors import UsageError
from tamperscope.jobs import database, processes
from tamperscope.service import config as configuration
from tamperscope.service import parts
from tamperscope.service.config import Config, Server
from tamperscope.service.service import Service

LOCK = "service.lock"
READY_S = 0.1
ORPHANS_S = 10.0
"""So long the processes of a run that was killed may take to see that their parent is gone."""


@dataclass
class Running:
    """A service by its configuration."""

    config: Config
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, begun: Callable[[str], None] = lambda _: None) -> None:
        """Until `stop` is set. ``begun`` is told the address of the page when it can be opened.

        Raises:
            UsageError: folder, database, port or a file that is named cannot be used, it runs already, or it would be
                open to strangers.
        """
        os.umask(0o077)
        shared = Service.of(self.config)
        database.migrate(shared.engine)
        users = shared.accounts.any()
        configuration.check(self.config, users=users)
        configuration.usable(self.config)
        key = "" if users else secrets.token_urlsafe(24)
        with processes.alone(self.config.folder / LOCK, "a service"):
            free(self.config.server)
            shared.audit.write("started")
            shared.engine.dispose()
            ready = threading.Thread(target=self._ready, args=(lambda: begun(address(self.config, key)),), daemon=True)
            ready.start()
            try:
                names = ["web", "reader", *["judge"] * self.config.model.workers]
                kept = [processes.Part(name, parts.run, (name, self.config, key)) for name in names]
                processes.watch(kept, parts.__name__, self.stop, partial(_restarted, shared))
            finally:
                shared.audit.write("stopped")

    def _ready(self, begun: Callable[[], None]) -> None:
        """Call ``begun`` once the web process takes connections."""
        server = self.config.server
        while not self.stop.wait(READY_S):
            with suppress(OSError), socket.create_connection((server.address, server.port), timeout=1.0):
                begun()
                return


def _restarted(shared: Service, part: str, deaths: int) -> None:
    shared.audit.write("restarted", part=part, deaths=deaths)


def address(config: Config, key: str) -> str:
    """What to open in a browser, by the name that others use; with the key of this run while there are no users."""
    server = config.server
    if server.proxies and server.hosts:
        return f"https://{server.hosts[0]}/"
    name = server.hosts[0] if server.certificate and server.hosts else server.address
    host = f"[{name}]" if ":" in name else name
    scheme = "https" if server.certificate else "http"
    return f"{scheme}://{host}:{server.port}/" + (f"enter?key={key}" if key else "")


def free(server: Server) -> None:
    """See that the port can be had.

    Raises:
        UsageError: it is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end = time.monotonic() + ORPHANS_S
        while (error := _taken(probe, server)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                where = f"{server.address}:{server.port}"
                raise UsageError(f"cannot listen at {where}: {error.strerror}", hint="choose another --port")
            time.sleep(READY_S)


def _taken(probe: socket.socket, server: Server) -> OSError | None:
    try:
        probe.bind((server.address, server.port))
    except OSError as error:
        return error
    return None
