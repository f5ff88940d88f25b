"""What ``node.toml`` says. Nothing is open by default: who may send is listed, and the rest is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tamperscope import toml
from tamperscope.jobs.deliver import Destination
from tamperscope.jobs.model import Model
from tamperscope.report.dicom import KINDS

HINT = "docs/node.md shows a whole one"
AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
"""Printable ASCII without backslash, 16 characters at most (PS3.5, VR AE)."""
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the node listens, and what one sender may ask of it."""

    address: str = "127.0.0.1"
    port: int = field(default=11112, metadata={"least": 0, "most": 65535})
    associations: int = field(default=16, metadata={"least": 1})
    """At once; one more is rejected with "local limit exceeded"."""
    connections: int = field(default=24, metadata={"least": 2})
    """Sockets at once, associations and what has not asked for one yet; each takes two threads."""
    per_host: int = field(default=20, metadata={"least": 1})
    """Sockets of one host."""
    pdu_bytes: int = field(default=1 << 20, metadata={"least": 4096})
    """Longest PDU that is read."""
    object_bytes: int = field(default=2 << 30, metadata={"least": 1 << 20})
    """Largest object."""
    idle_s: float = field(default=30.0, metadata={"above": 0.0})
    request_s: float = field(default=5.0, metadata={"above": 0.0})
    """How long a connection may stay without asking for an association."""
    free_bytes: int = field(default=5 << 30, metadata={"least": 0})
    """Below so much free space nothing is taken: 0xA700."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who may send: an AE title, from these hosts alone."""

    ae_title: str
    hosts: tuple[str, ...]
    """Addresses and networks, such as 10.1.2.3 and 10.1.0.0/16."""

    def at(self, host: str) -> bool:
        """Whether a host is one of these; an IPv4 address that comes over IPv6 is that address."""
        try:
            address = ipaddress.ip_address(host.split("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in ipaddress.ip_network(one, strict=False) for one in self.hosts)


@dataclass(frozen=True, slots=True)
class Studies:
    """When a study is complete."""

    quiet_s: float = field(default=60.0, metadata={"least": 0.0})
    """So long after its last instance."""
    force_s: float = field(default=3600.0, metadata={"least": 0.0})
    """So long after its first, whatever still comes."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of the listener, and of destinations that ask for it; both sides show a certificate (PS3.15 B.12)."""

    certificate: Path
    key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Orthanc:
    """An Orthanc whose stable studies are fetched."""

    url: str
    user: str = ""
    password_file: Path | None = None
    every_s: float = field(default=5.0, metadata={"above": 0.0})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder whose files are taken in: each is moved into the store, or to ``failed`` inside the folder."""

    path: Path
    settled_s: float = field(default=5.0, metadata={"least": 0.0})
    """How long a file must not have changed."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What is written down of what happens."""

    messages: bool = False
    """DICOM audit messages (PS3.15 A.5) in ``audit.xml.log`` beside ``audit.jsonl``."""
    patient: bool = False
    """The ID of the patient in them; without, UIDs alone."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where Prometheus asks; port 0 for nowhere."""

    address: str = "127.0.0.1"
    port: int = field(default=9104, metadata={"least": 0, "most": 65535})


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    folder: Path
    ae_title: str
    database: str
    peers: tuple[Peer, ...]
    destinations: Mapping[str, Destination]
    listener: Listener = Listener()
    studies: Studies = Studies()
    model: Model = field(default_factory=Model)
    tls: Tls | None = None
    orthanc: Orthanc | None = None
    folders: tuple[Folder, ...] = ()
    audit: Audit = Audit()
    metrics: Metrics = Metrics()


def read(path: Path) -> Config:
    """The configuration in a TOML file; paths in it are relative to the file.

    Raises:
        UsageError: it cannot be read, or a key is unknown, missing or of the wrong kind; the message names it.
    """
    tree = toml.tree(toml.text(path), str(path), HINT)
    check, base = toml.Checker(str(path)), path.resolve().parent
    singles = {"listener": Listener, "studies": Studies, "model": Model, "audit": Audit, "metrics": Metrics}
    optional = {"tls": Tls, "orthanc": Orthanc}
    lists = {"peer": Peer, "destination": Destination, "folder": Folder}
    check.keys(tree, ("node", *singles, *optional, *lists), "the file")
    node = tree.get("node", {})
    check.keys(node, ("ae_title", "folder", "database"), "[node]")
    folder = base / check.one(node, "folder", str, "tamperscope-node")
    found: dict[str, Any] = {
        key: check.record(tree[key], kind, f"[{key}]", base)
        for key, kind in {**singles, **optional}.items()
        if key in tree
    }
    rows: dict[str, Any] = {key: tuple(_rows(check, tree, key, kind, base)) for key, kind in lists.items()}
    config = Config(
        folder=folder,
        ae_title=check.one(node, "ae_title", str, "TAMPERSCOPE"),
        database=check.one(node, "database", str, f"sqlite:///{folder / 'node.db'}"),
        peers=rows["peer"],
        destinations={one.name: one for one in rows["destination"]},
        folders=rows["folder"],
        **found,
    )
    _sound(config, rows["destination"], check)
    return config


def _rows(check: toml.Checker, tree: Mapping[str, Any], key: str, kind: type[Record], base: Path) -> list[Record]:
    rows = tree.get(key, [])
    if not isinstance(rows, list):
        raise check.fail(f"{key} is no list of tables", f"write [[{key}]]")
    return [check.record(row, kind, f"[[{key}]]", base) for row in rows]


def _sound(config: Config, destinations: tuple[Destination, ...], check: toml.Checker) -> None:
    """What no single key shows."""
    titles = [config.ae_title, *(peer.ae_title for peer in config.peers)]
    titles += [one.ae_title for one in destinations if one.kind == "c-store"]
    for title in titles:
        if not AE_TITLE.fullmatch(title) or not title.strip():
            raise check.fail(f"ae_title = {title!r}", "1 to 16 printable ASCII characters without a backslash")
    for host in (host for peer in config.peers for host in peer.hosts):
        try:
            ipaddress.ip_network(host, strict=False)
        except ValueError as error:
            hint = "addresses and networks, such as 10.1.2.3 and 10.1.0.0/16; names can be forged"
            raise check.fail(f"hosts has {host!r}", hint) from error
    names = [one.name for one in destinations]
    if len(set(names)) < len(names):
        raise check.fail(f"two destinations are called {max(names, key=names.count)}", "give each a name of its own")
    for one in destinations:
        if ":" in one.name or not one.name:
            raise check.fail(f"a destination is called {one.name!r}", "a name, without a colon")
        _sound_destination(one, check)
    public = config.listener.address not in ("127.0.0.1", "::1", "localhost")
    if public and not config.peers:
        raise check.fail("the node listens to the network and no [[peer]] may send", "list who may")


def _sound_destination(one: Destination, check: toml.Checker) -> None:
    where = f"destination {one.name}"
    missing = [key for key in (("host", "ae_title") if one.kind == "c-store" else ("url",)) if not getattr(one, key)]
    if missing:
        raise check.fail(f"{where} says no {missing[0]}", f"add {missing[0]} = ...")
    unknown = [kind for kind in one.objects if kind not in KINDS]
    if unknown or not one.objects:
        raise check.fail(f"{where} wants {unknown[0] if unknown else 'nothing'}", f"objects are {', '.join(KINDS)}")
    if one.user and one.password_file is None:
        raise check.fail(f"{where} has a user and no password_file", "name the file that holds the password")
