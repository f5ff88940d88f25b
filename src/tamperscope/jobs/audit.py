"""What happened, written down once and never changed: JSON lines, and DICOM audit messages where they are asked for.

No patient is named unless the configuration says so: a study is its UID.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from tamperscope.records import JSON
from tamperscope.report import words
from tamperscope.report.dicom.identity import IMPLEMENTATION_VERSION

BLOCK = 64 * 1024
FILE, MESSAGES = "audit.jsonl", "audit.xml.log"
Code = tuple[str, str, str]
"""Value, scheme, meaning."""
STARTED: Code = ("110120", "DCM", "Application Start")
STOPPED: Code = ("110121", "DCM", "Application Stop")


@dataclass(frozen=True, slots=True)
class Kind:
    """How an event of ours is said in an audit message (PS3.15 A.5.3)."""

    event: Code
    action: str
    """C create, R read, U update, D delete, E execute."""
    type: Code | None = None
    failed: bool = False


KINDS: Mapping[str, Kind] = {
    "started": Kind(("110100", "DCM", "Application Activity"), "E", STARTED),
    "stopped": Kind(("110100", "DCM", "Application Activity"), "E", STOPPED),
    "refused": Kind(("110113", "DCM", "Security Alert"), "E", ("110126", "DCM", "Node Authentication"), failed=True),
    "conflict": Kind(("110113", "DCM", "Security Alert"), "E", ("110135", "DCM", "Object Security Attributes Changed")),
    "received": Kind(("110104", "DCM", "DICOM Instances Transferred"), "C"),
    "judged": Kind(("110103", "DCM", "DICOM Instances Accessed"), "R"),
    "delivered": Kind(("110104", "DCM", "DICOM Instances Transferred"), "R"),
    "dead": Kind(("110104", "DCM", "DICOM Instances Transferred"), "R", failed=True),
}
"""What is not listed is in the JSON lines alone."""


@dataclass(slots=True)
class Audit:
    """Appends to files in ``folder``. Several processes may: each line is one write."""

    folder: Path
    messages: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def write(self, event: str, **facts: JSON) -> None:
        """Note an event with its facts, which hold no patient data."""
        time = self.now().isoformat(timespec="milliseconds")
        self._append(FILE, json.dumps({"time": time, "event": event, **facts}, ensure_ascii=True))
        if self.messages and event in KINDS:
            self._append(MESSAGES, message(event, time, facts))

    def _append(self, name: str, line: str) -> None:
        try:
            with self._lock:
                handle = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
                try:
                    os.write(handle, f"{line}\n".encode())
                finally:
                    os.close(handle)
        except OSError as error:
            # A disk that is full must not end the listener, which says 0xA700 of it; the journal gets the line.
            sys.stderr.write(f"{name} cannot be written ({error.strerror}): {line}\n")


def last(folder: Path, fact: str) -> str | None:
    """The newest value of a fact in the log; None if it has none."""
    found = None
    with suppress(OSError), (folder / FILE).open("rb") as lines:
        for line in lines:
            found = (_parsed(line) or {}).get(fact, found)
    return found


def newest(folder: Path, most: int) -> list[dict[str, Any]]:
    """The last events, the newest first: the log grows for years, and is read from its end."""
    found: list[dict[str, Any]] = []
    with suppress(FileNotFoundError), (folder / FILE).open("rb") as stream:
        for line in _backwards(stream):
            event = _parsed(line)
            if event is not None:
                found.append(event)
            if len(found) == most:
                break
    return found


def _backwards(stream: BinaryIO) -> Iterator[bytes]:
    """Lines from the last to the first."""
    place, rest = stream.seek(0, os.SEEK_END), b""
    while place:
        size = min(BLOCK, place)
        place = stream.seek(place - size)
        first, *lines = (stream.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = first
    yield rest


def _parsed(line: bytes) -> dict[str, Any] | None:
    """An event; None where a line was cut short by a full disk."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def message(event: str, time: str, told: Mapping[str, JSON]) -> str:
    """An audit message on one line (PS3.15 A.5.1, the schema of DICOM): who, what, on which study."""
    kind = KINDS[event]
    root = ElementTree.Element("AuditMessage")
    outcome = "4" if kind.failed else "0"
    about = ElementTree.SubElement(
        root, "EventIdentification", EventActionCode=kind.action, EventDateTime=time, EventOutcomeIndicator=outcome
    )
    _code(about, "EventID", kind.event)
    if kind.type is not None:
        _code(about, "EventTypeCode", kind.type)
    # What a sender calls itself may hold what no XML can.
    facts = {key: words.visible(str(value)) for key, value in told.items()}
    peer = facts.get("ae_title") or facts.get("destination") or facts.get("host") or ""
    if peer:
        active = ElementTree.SubElement(root, "ActiveParticipant", UserID=peer, UserIsRequestor="true")
        host = facts.get("host")
        if host:
            active.set("NetworkAccessPointID", host)
            active.set("NetworkAccessPointTypeCode", "2")
    own = ElementTree.SubElement(root, "ActiveParticipant", UserID=IMPLEMENTATION_VERSION, UserIsRequestor="false")
    _code(own, "RoleIDCode", ("110150", "DCM", "Application"))
    source = ElementTree.SubElement(root, "AuditSourceIdentification", AuditSourceID=socket.gethostname())
    _code(source, "AuditSourceTypeCode", ("4", "DCM", "Application Server"))
    if facts.get("study"):
        _study(root, facts)
    line: bytes = ElementTree.tostring(root, encoding="us-ascii")
    return line.decode()


def _study(root: ElementTree.Element, facts: Mapping[str, str]) -> None:
    study = ElementTree.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=facts["study"],
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole="3",
    )
    _code(study, "ParticipantObjectIDTypeCode", ("110180", "DCM", "Study Instance UID"))
    if facts.get("patient"):
        patient = ElementTree.SubElement(
            root,
            "ParticipantObjectIdentification",
            ParticipantObjectID=facts["patient"],
            ParticipantObjectTypeCode="1",
            ParticipantObjectTypeCodeRole="1",
        )
        _code(patient, "ParticipantObjectIDTypeCode", ("2", "RFC-3881", "Patient Number"))


def _code(parent: ElementTree.Element, name: str, code: Code) -> None:
    value, scheme, meaning = code
    attributes = {"csd-code": value, "codeSystemName": scheme, "originalText": meaning}
    ElementTree.SubElement(parent, name, attributes)
