"""What a service is told: one TOML file, or nothing at all. Every key has a default; an unknown one is an error."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.detectors.provenance import trust
from tamperscope.errors import UsageError
from tamperscope.jobs.model import Model
from tamperscope.report import credentials, signature

HINT = "docs/service.md shows a whole configuration"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where the page is served, and to whom."""

    address: str = "127.0.0.1"
    port: int = field(default=8484, metadata={"least": 1, "most": 65535})
    certificate: Path | None = None
    """Of the server, PEM; with ``key`` it serves HTTPS."""
    key: Path | None = None
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies that end TLS in front of it and state the caller in X-Forwarded-For."""
    hosts: tuple[str, ...] = ()
    """Names under which it is asked, beside its address: a page on another name cannot speak to it."""
    connections: int = field(default=400, metadata={"least": 10})
    per_host: int = field(default=100, metadata={"least": 5})
    """Connections of one host; proxies are not counted."""
    request_s: float = field(default=15.0, metadata={"above": 0.0})
    """How long a caller may take to send the head of a request."""
    idle_s: float = field(default=30.0, metadata={"above": 0.0})
    """How long a body may stand still."""

    @property
    def loopback(self) -> bool:
        """Whether this machine alone reaches it without a proxy."""
        return self.address in LOOPBACK


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may ask for."""

    upload_bytes: int = field(default=8 << 30, metadata={"least": 1 << 20})
    file_bytes: int = field(default=2 << 30, metadata={"least": 1 << 20})
    files: int = field(default=20_000, metadata={"least": 1})
    user_bytes: int = field(default=100 << 30, metadata={"least": 1 << 20})
    """Of all studies of one user, and of the uploads that are on their way."""
    open_uploads: int = field(default=20, metadata={"least": 1})
    free_bytes: int = field(default=5 << 30, metadata={"least": 0})
    """Below so much free space nothing is taken."""
    requests_per_minute: int = field(default=3000, metadata={"least": 1})
    """Of one user; a burst of as many as in ten seconds is let through."""
    logins_per_minute: int = field(default=10, metadata={"least": 1})
    """Wrong passwords and tokens from one host."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How long things are kept."""

    retention_days: float = field(default=30.0, metadata={"least": 0.0})
    """Of a study, since it was judged; 0 for ever."""
    abandoned_hours: float = field(default=24.0, metadata={"above": 0.0})
    """Of an upload that does not go on."""
    quiet_s: float = field(default=10.0, metadata={"least": 0.0})
    """A study that comes by STOW-RS is complete so long after its last instance."""
    session_hours: float = field(default=12.0, metadata={"above": 0.0})

    def expires(self, now: float) -> float | None:
        """When a study that is judged ``now`` is deleted, in seconds since 1970; None for never."""
        return now + self.retention_days * DAY_S if self.retention_days else None


@dataclass(frozen=True, slots=True)
class Signing:
    """How reports are signed."""

    key: Path
    """PEM; the password of an encrypted one is in TAMPERSCOPE_SIGN_PASSWORD."""
    certificate: Path | None = None
    """Its chain, PEM: pictures get Content Credentials (C2PA) with it."""


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    folder: Path
    database: str
    server: Server = Server()
    limits: Limits = Limits()
    storage: Storage = Storage()
    model: Model = field(default_factory=Model)
    signing: Signing | None = None

    @property
    def public(self) -> bool:
        """Whether others than this machine can reach it: itself, or what it is put behind."""
        return not self.server.loopback or bool(self.server.proxies or self.server.hosts)

    @property
    def secure(self) -> bool:
        """Whether callers reach it by HTTPS, its own or a proxy's."""
        return self.server.certificate is not None or bool(self.server.proxies)


def default(folder: Path) -> Config:
    """Everything in one folder, for this machine alone."""
    return Config(folder, f"sqlite:///{folder / 'service.db'}")


def read(path: Path) -> Config:
    """The configuration in a TOML file; paths in it are relative to the file.

    Raises:
        UsageError: it cannot be read, or a key is unknown or of the wrong kind; the message names it.
    """
    tree = toml.tree(toml.text(path), str(path), HINT)
    check, base = toml.Checker(str(path)), path.resolve().parent
    singles = {"server": Server, "limits": Limits, "storage": Storage, "model": Model, "signing": Signing}
    check.keys(tree, ("service", *singles), "the file")
    service = tree.get("service", {})
    check.keys(service, ("folder", "database"), "[service]")
    folder = base / check.one(service, "folder", str, "tamperscope-service")
    found: dict[str, Any] = {
        key: check.record(tree[key], kind, f"[{key}]", base) for key, kind in singles.items() if key in tree
    }
    return Config(folder, check.one(service, "database", str, f"sqlite:///{folder / 'service.db'}"), **found)


def check(config: Config, *, users: bool) -> None:
    """See that what is open to others is guarded: who asks is known, and nobody on the way can listen.

    Raises:
        UsageError: it is not.
    """
    server = config.server
    if (server.certificate is None) != (server.key is None):
        raise UsageError("[server] names one of certificate and key", hint="HTTPS needs both")
    for address in server.proxies:
        _proxy(address)
    where = f"the service would listen at {server.address}, where others can reach it"
    if config.public and not users:
        if server.loopback:
            where = "[server] names proxies or hosts, by which others can reach the service"
        raise UsageError(f"{where}, and there are no users", hint="add one: tamperscope serve users add NAME")
    if not server.loopback and not config.secure:
        hint = "set certificate and key under [server], or proxies, or leave address at 127.0.0.1"
        raise UsageError(f"{where}, without TLS: passwords and pictures could be read on the way", hint=hint)


def usable(config: Config) -> None:
    """See that the files and the model that it names can be used, before the first caller finds out.

    Raises:
        UsageError: one cannot; the message names it.
        MissingExtraError: what signs is not installed.
    """
    _certified(config.server)
    trust.load(config.model.settings()["trust"])
    if config.signing is not None:
        signer = signature.private_key(config.signing.key, os.environ.get(signature.PASSWORD))
        if config.signing.certificate is not None:
            credentials.load(config.signing.certificate, signer)


def _proxy(address: str) -> None:
    try:
        network = ipaddress.ip_network(address)
    except ValueError as error:
        raise UsageError(f"[server] proxies has {address!r}", hint="addresses or networks, no names") from error
    if not network.prefixlen:
        hint = "name the proxies: what they say of their callers is believed"
        raise UsageError(f"[server] proxies has {address!r}, which is everybody", hint=hint)


def _certified(server: Server) -> None:
    if server.certificate is None or server.key is None:
        return
    for path in (server.certificate, server.key):
        try:
            path.open("rb").close()
        except OSError as error:
            hint = "give PEM files that the service may read"
            raise UsageError(f"[server] {path} cannot be read: {error.strerror}", hint=hint) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.certificate, server.key, _encrypted)
    except ssl.SSLError as error:
        found = f"[server] {server.certificate} and {server.key} do not do for HTTPS: {error.reason or 'no PEM'}"
        raise UsageError(found, hint="give the certificate with its chain, and its key") from error


def _encrypted() -> str:
    raise UsageError(
        "[server] the key is encrypted", hint="give one without a password, which only the service may read"
    )
