"""What stands between strangers on the network and pynetdicom, which trusts what a PDU says of its length.

Everything that reaches into the library's inside is here; `check` fails loudly where a name has moved. A connection is
refused before it costs a thread; one that asks for no association, sends a byte a minute or claims four gigabytes is
closed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from tamperscope.errors import UsageError

READER = "tamperscope_reader"
PIECE = 1 << 16
"""Bytes asked of a socket at once."""
ROOM_BYTES = 16 << 20
"""Of an object between two looks at the disk."""
MEMORY_BYTES = 1 << 20
"""A command set has some hundred bytes, a commitment report some thousand."""
POLL_S = 0.008
"""How long pynetdicom's loop sleeps when nothing came: at its own 0.001, idle associations take a core between them."""
LEAST_RATE = 10_000.0
"""Bytes a second that a sender must keep up within a PDU, on top of the idle time."""
EXPECTED = (
    (AssociationSocket, "recv"),
    (RequestHandler, "_create_association"),
    (ThreadedAssociationServer, "get_request"),
    (ThreadedAssociationServer, "verify_request"),
    (Association, "set_socket"),
)
IN_MESSAGE = ("encoded_command_set", "data_set", "_data_set_file", "_data_set_path")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection, one host, and all of them may take."""

    connections: int
    per_host: int
    pdu_bytes: int
    object_bytes: int
    idle_s: float
    request_s: float
    """The same before an association is established."""
    admits: Callable[[str], bool]
    """Whether a host may connect at all."""
    room: Callable[[], bool]
    """Whether there is room for what an object still brings."""


Refused = Callable[[str, str], None]
"""Called with the host and why."""


def check() -> None:
    """See that the names are there that this module overrides.

    Raises:
        UsageError: pynetdicom has changed.
    """
    for owner, name in EXPECTED:
        if not callable(getattr(owner, name, None)):
            what = f"pynetdicom has no {owner.__name__}.{name}, so its connections cannot be bounded"
            raise UsageError(what, hint="install the version that tamperscope asks for")
    message = DIMSEMessage()
    for name in IN_MESSAGE:
        if not hasattr(message, name):
            what = f"a message of pynetdicom has no {name}, so its memory cannot be bounded"
            raise UsageError(what, hint="install the version that tamperscope asks for")


def stored(association: Association) -> None:
    """An object of this association is complete: the next one counts anew."""
    reader = getattr(association.dul.socket, READER, None)
    if isinstance(reader, _Reader):
        reader.taken = reader.asked_at = 0


def abandoned(association: Association) -> None:
    """A connection has ended: what had come of an object by then is removed."""
    message = association.dimse.message
    file, path = getattr(message, "_data_set_file", None), getattr(message, "_data_set_path", None)
    if file is not None:
        file.close()
    if isinstance(path, Path):
        path.unlink(missing_ok=True)


class GuardedServer(ThreadedAssociationServer):
    """Accepts from known hosts alone, and no more connections than are allowed."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any, bounds: Bounds, refused: Refused, **kwargs: Any) -> None:
        self.bounds, self.refused = bounds, refused
        self._open: list[tuple[socket.socket, str]] = []
        super().__init__(*args, **{**kwargs, "request_handler": _Handler})
        self.contexts = _Contexts(self.contexts)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; the TLS handshake is left to its own thread, or one that is slow would stop all others."""
        if self.socket is None:
            raise OSError("the server is closed")
        client, address = self.socket.accept()
        client.settimeout(self.bounds.idle_s)
        if self.ssl_context is not None:
            try:
                client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            except ssl.SSLError as error:
                client.close()
                raise OSError("TLS cannot begin") from error
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection may stay."""
        host = str(client_address[0])
        self._open = [(one, of) for one, of in self._open if one.fileno() != -1]
        here = Counter(of for _, of in self._open)
        reason = ""
        if not self.bounds.admits(host):
            reason = "host is not listed"
        elif len(self._open) >= self.bounds.connections:
            reason = "too many connections"
        elif here[host] >= self.bounds.per_host:
            reason = "too many connections of one host"
        if reason:
            self.refused(host, reason)
            return False
        self._open.append((request, host))
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing to standard error: the connection is closed, and that is all."""


def _in_memory(message: Any) -> int:
    """Bytes of a message that pynetdicom holds: its command, and any data set but that of a C-STORE."""
    parts = (getattr(message, name, None) for name in ("encoded_command_set", "data_set"))
    return sum(part.tell() for part in parts if isinstance(part, BytesIO))


class _Contexts(list[PresentationContext]):
    """The supported contexts, of which pynetdicom makes a deep copy for each association: half of all its work.

    The negotiation reads them and changes none of what they hold, so a copy of the surface does.
    """

    def __deepcopy__(self, memo: Any) -> list[PresentationContext]:
        return [copy(one) for one in self]


class _Handler(RequestHandler):
    """Gives each association a socket that reads within bounds."""

    server: GuardedServer

    def _create_association(self) -> Association:
        association = super()._create_association()
        reader = association.dul.socket
        if reader is None:
            raise OSError("the association has no socket")
        association.dul._run_loop_delay = POLL_S
        _Reader(reader, self.server.bounds).attach()
        return association


@dataclass(slots=True)
class _Reader:
    """Reads PDUs from one socket: none longer than allowed, none slower than bearable."""

    socket: AssociationSocket
    bounds: Bounds
    taken: int = 0
    """Bytes since the last object was stored."""
    asked_at: int = 0
    """How many of them there were when room was last asked for."""

    def attach(self) -> None:
        """Take the place of the socket's own method."""
        self.socket.recv = self.recv  # type: ignore[method-assign]
        setattr(self.socket, READER, self)

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or what came before the connection ended.

        Raises:
            OSError: too long, too large or too slow; pynetdicom closes the connection.
        """
        self.taken += nr_bytes
        if nr_bytes > self.bounds.pdu_bytes:
            raise OSError(f"a PDU of {nr_bytes} bytes")
        if self.taken > self.bounds.object_bytes:
            raise OSError("an object that is too large")
        if self.taken - self.asked_at > ROOM_BYTES:
            self.asked_at = self.taken
            if not self.bounds.room():
                raise OSError("no room for the rest of an object")
        if _in_memory(self.socket.assoc.dimse.message) > MEMORY_BYTES:
            raise OSError("a command, or a message that is no C-STORE, that is too large")
        connection = self.socket.socket
        if connection is None:
            raise OSError("the connection is closed")
        patience = self.bounds.idle_s if self.socket.assoc.is_established else self.bounds.request_s
        read, end = bytearray(), time.monotonic() + patience + nr_bytes / LEAST_RATE
        while len(read) < nr_bytes:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("a PDU that is too slow")
            connection.settimeout(min(left, self.bounds.idle_s))
            piece = connection.recv(min(PIECE, nr_bytes - len(read)))
            if not piece:
                break
            read += piece
        connection.settimeout(self.bounds.idle_s)
        return read
