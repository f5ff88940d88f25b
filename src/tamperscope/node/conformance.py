"""The conformance statement, written from what the code accepts and sends; CI sees that docs/conformance.md is it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.uid import UID

from tamperscope import __version__
from tamperscope.node import listener
from tamperscope.node.config import Listener
from tamperscope.report.dicom import KINDS, SOP_CLASSES
from tamperscope.report.dicom.codes import code_table
from tamperscope.report.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"


def statement() -> str:
    """DICOM conformance statement in Markdown, after the outline of PS3.2 annex N."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    accepted = listener.contexts()
    storage = [one for one in accepted if str(one.abstract_syntax) not in (VERIFICATION, COMMITMENT)]
    settings = Listener()
    yield "# DICOM conformance statement"
    yield ""
    yield f"Of the tamperscope node, version {__version__}, written by `tamperscope node conformance` from what the"
    yield "code offers. Research use only, not for diagnosis."
    yield ""
    yield "## Overview"
    yield ""
    yield from _table(
        ("network service", "user (SCU)", "provider (SCP)"),
        [
            ("Verification", "yes", "yes"),
            (f"Storage of images and all other composite objects ({len(storage)} SOP classes)", "no", "yes"),
            ("Storage of results", "yes", "no"),
            ("Storage Commitment Push Model", "yes", "no"),
            ("STOW-RS (DICOMweb)", "yes", "no"),
        ],
    )
    yield ""
    yield "## Association policies"
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", IMPLEMENTATION_VERSION),
            ("Application context", "1.2.840.10008.3.1.1.1"),
            ("Associations as acceptor", f"{settings.associations} at once unless configured otherwise"),
            ("Connections", f"{settings.connections} in all, {settings.per_host} of one host"),
            ("Longest PDU read", f"{settings.pdu_bytes} bytes"),
            ("Largest object", f"{settings.object_bytes} bytes"),
            ("Asynchronous operations", "none"),
            (
                "Accepted if",
                "called AE title is the node's, calling AE title and host are listed; else 0x0124",
            ),
            ("Security", "TLS 1.2 or newer with certificates of both sides, where [tls] is configured (PS3.15 B.12)"),
        ],
    )
    yield ""
    yield "## C-STORE as provider"
    yield ""
    yield "An object is kept as it was received (its preamble is zeroed), and is on the disk before it is acknowledged."
    yield ""
    yield from _table(
        ("status", "meaning"),
        [
            ("0x0000", "stored"),
            ("0xA700", "out of resources: too little free space"),
            ("0xC000", "cannot understand: no DICOM object, or without SOP, Study or Series Instance UID"),
            ("0x0124", "not authorised: the calling AE title is not that host's"),
        ],
    )
    yield ""
    yield "SOP classes, each in every transfer syntax below:"
    yield ""
    yield from _table(("SOP class", "UID"), [_named(one.abstract_syntax) for one in storage])
    yield ""
    yield "Transfer syntaxes:"
    yield ""
    yield from _table(("transfer syntax", "UID"), [_named(one) for one in storage[0].transfer_syntax or []])
    yield ""
    yield "## Results as user"
    yield ""
    yield "Same study, a new series a kind; sent by C-STORE or STOW-RS to the destinations that ask for them."
    yield ""
    rows = [(kind, *_named(uid)) for kind in KINDS for uid in SOP_CLASSES[kind]]
    yield from _table(("kind", "SOP class", "UID"), rows)
    yield ""
    yield "## Private codes"
    yield ""
    yield from _table(("code", "scheme", "meaning"), code_table())


def _named(uid: UID | str | None) -> tuple[str, str]:
    known = UID(str(uid))
    return known.name, str(known)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
