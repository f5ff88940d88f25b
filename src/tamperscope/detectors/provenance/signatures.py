"""DICOM digital signatures (PS3.15 annex C, PS3.3 C.12.1.1.3): do they hold, what do they cover, who vouches for them.

A signature that does not match is proof of a change, whoever made it. One that matches proves little by itself: anybody
can sign a changed file anew, with a certificate of their own. Only where a chain leads from the certificate to one that
the caller trusts, and the signature covers the pixels and what they mean, is a file "verified".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Literal

import numpy as np
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.uid import UID

from tamperscope.detectors.provenance import raw, seen, trust
from tamperscope.detectors.provenance.mac import NATIVE, Writer
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.raw import Elements
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.detectors.provenance.trust import Trust
from tamperscope.errors import UnsupportedError
from tamperscope.formats import dicom
from tamperscope.formats.dicom import PALETTE_KEYWORDS, Parsed

CHECK = "signature"
MAC_CLAUSE, PROFILE_CLAUSE, COVER_CLAUSE = "PS3.3 C.12.1.1.3.1", "PS3.15 C.1", "PS3.15 C.2"
SIGNATURES, PARAMETERS = 0xFFFAFFFA, 0x4FFE0001
MAC_ID, SYNTAX, ALGORITHM, SIGNED = 0x04000005, 0x04000010, 0x04000015, 0x04000020
DATE_TIME, CERTIFICATE, VALUE = 0x04000105, 0x04000115, 0x04000120
MARKS = (b"\xfa\xff\xfa\xff", b"\xff\xfa\xff\xfa", b"\xfe\x4f\x01\x00", b"\x4f\xfe\x00\x01")
"""Their tags as bytes, little and big endian: the cheap look that most files end with."""
NOT_SIGNED = frozenset({CERTIFICATE, VALUE, 0x04000305, 0x04000310})
"""Certificate, signature and timestamp: what of the signature's own item is not under it (PS3.3 C.12.1.1.3.1.1)."""
DIGESTS = {
    "RIPEMD160": ("ripemd160", "3021300906052b2403020105000414"),
    "MD5": ("md5", "3020300c06082a864886f70d020505000410"),
    "SHA1": ("sha1", "3021300906052b0e03021a05000414"),
    "SHA256": ("sha256", "3031300d060960864801650304020105000420"),
    "SHA384": ("sha384", "3041300d060960864801650304020205000430"),
    "SHA512": ("sha512", "3051300d060960864801650304020305000440"),
}
"""MAC Algorithm (0400,0015) to the name of the hash and the DigestInfo before it (RFC 8017, 9.2, note 1)."""
WEAK = ("MD5", "SHA1")
CURVES: dict[str, type[hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
IMAGE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    *PALETTE_KEYWORDS,
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What turns stored numbers into this picture at this place; where one is there and not signed, it may have changed."""
PATIENT = ("PatientName", "PatientID", "PatientBirthDate")
SLACK = timedelta(days=1)
"""Clocks and time zones that a date does not state."""


@dataclass(frozen=True, slots=True)
class Level:
    """A data set that may hold signatures: the object itself, or an item of a sequence in it."""

    name: str
    """Empty for the object itself."""
    elements: Elements

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence at this level."""
        found = self.elements.get(tag)
        return (found.items or ()) if found is not None else ()


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature with what came of it."""

    level: str
    outcome: Literal["intact", "broken", "unchecked"]
    reason: str
    """Why it could not be checked; empty otherwise."""
    algorithm: str
    tags: tuple[int, ...]
    certificate: x509.Certificate | None
    when: datetime | None

    @property
    def signer(self) -> str:
        """Who signed, in words."""
        return trust.described(self.certificate) if self.certificate is not None else "an unknown certificate"

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f" in {self.level}" if self.level else ""


def check(opened: Opened, trusted: Trust) -> Iterator[Seen]:
    """Verify every signature of one file, those in items of sequences too.

    Args:
        opened: the file.
        trusted: whom the caller trusts.
    """
    parsed = opened.parsed
    if parsed is None or not mentioned(parsed):
        return
    for level in _levels(raw.around(parsed)):
        for item in level.items(SIGNATURES):
            yield from _said(parsed, level, _verified(parsed, level, item), trusted, opened.source)
        if level.items(PARAMETERS) and not level.items(SIGNATURES):
            text = "There are MAC Parameters (4FFE,0001) but no signature that uses them: it was taken away."
            yield seen.contradiction("signature-lost", text, MAC_CLAUSE, opened.source)


def lost(signed: Sequence[str], every: Sequence[str]) -> Iterator[Seen]:
    """Files without a signature in a series of which others have one."""
    bare = [source for source in every if source not in set(signed)]
    if signed and bare:
        text = f"{len(signed)} of {len(every)} files of the series are signed; these are not."
        yield seen.contradiction("signature-lost", text, COVER_CLAUSE, *bare)


def mentioned(parsed: Parsed) -> bool:
    """Whether the bytes around the pixel data hold the tag of a signature or of its parameters."""
    head, tail = _around(parsed)
    return any(parsed.data.find(mark, 0, head) >= 0 or parsed.data.find(mark, tail) >= 0 for mark in MARKS)


def is_signed(parsed: Parsed) -> bool:
    """Whether the object itself has a signature, which stands behind its pixels."""
    return any(parsed.data.find(mark, _around(parsed)[1]) >= 0 for mark in MARKS[:2])


def _around(parsed: Parsed) -> tuple[int, int]:
    """Where the pixel data begins and where it ends."""
    return len(parsed.data) if parsed.pixels is None else parsed.pixels.offset, raw.pixels_end(parsed)


def _levels(elements: Elements) -> Iterator[Level]:
    yield Level("", elements)
    for name, item in raw.inner({tag: one for tag, one in elements.items() if tag not in (SIGNATURES, PARAMETERS)}):
        yield Level(re.sub("[0-9A-F]{8}", lambda found: _word(int(found[0], 16)), name), item)


def _word(tag: int) -> str:
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


# --- does it hold? ---


def _verified(parsed: Parsed, level: Level, item: Elements) -> Signature:
    certificate, when = _certificate(_value(item, CERTIFICATE)), _when(_text(item, DATE_TIME))
    number = _value(item, MAC_ID)
    parameters = next((one for one in level.items(PARAMETERS) if number and _value(one, MAC_ID) == number), None)
    if parameters is None:
        reason = "the MAC Parameters that it refers to are missing"
        return Signature(level.name, "unchecked", reason, "", (), certificate, when)
    algorithm = _text(parameters, ALGORITHM).upper()
    tags = _tags(_value(parameters, SIGNED), little=bool(parsed.dataset.original_encoding[1]))
    try:
        if certificate is None:
            raise UnsupportedError("its certificate cannot be read")
        how = _How(_text(parameters, SYNTAX), algorithm, tags, certificate, _value(item, VALUE))
        holds = _holds(parsed, level, item, how)
    except UnsupportedError as error:
        return Signature(level.name, "unchecked", error.message, algorithm, tags, certificate, when)
    return Signature(level.name, "intact" if holds else "broken", "", algorithm, tags, certificate, when)


@dataclass(frozen=True, slots=True)
class _How:
    """How one signature was made, and what it is."""

    syntax: str
    algorithm: str
    tags: tuple[int, ...]
    certificate: x509.Certificate
    value: bytes


def _holds(parsed: Parsed, level: Level, item: Elements, how: _How) -> bool:
    if how.algorithm not in DIGESTS:
        raise UnsupportedError(f"its MAC algorithm {how.algorithm[:16] or 'is not stated'} is unknown")
    if not _is_calculable(how.syntax):
        raise UnsupportedError(f"a MAC in transfer syntax {how.syntax[:64] or 'unknown'} cannot be calculated")
    # Implicit VR does not keep whether a value was US or SS: what was meant first, then what other toolkits take.
    meant = dicom.integer(parsed.dataset, "PixelRepresentation") == 1
    guesses = (meant, False) if parsed.dataset.original_encoding[0] and meant else (meant,)
    own = [tag for tag in sorted(item) if tag not in NOT_SIGNED]
    for signed in guesses:
        writer = Writer(parsed, how.syntax, signed)
        covered = chain.from_iterable(_covered(writer, level, tag) for tag in how.tags)
        if _matches(chain(covered, writer.elements(item, own)), how):
            return True
    return False


def _is_calculable(syntax: str) -> bool:
    known = UID(syntax)
    return syntax in NATIVE or (known.is_transfer_syntax and known.is_encapsulated)


def _covered(writer: Writer, level: Level, tag: int) -> Iterator[bytes]:
    pixels = writer.parsed.pixels
    if pixels is not None and tag == pixels.tag and not level.name:
        yield from writer.pixels()
    else:
        yield from writer.elements(level.elements, (tag,))


def _matches(pieces: Iterable[bytes], how: _How) -> bool:
    """Whether the signature is one of these bytes by the key of the certificate (PS3.15 C.1: RSA, PKCS #1)."""
    name, prefix = DIGESTS[how.algorithm]
    try:
        digest = hashlib.new(name, usedforsecurity=False)
    except ValueError as error:
        raise UnsupportedError(f"the OpenSSL of this machine has no {how.algorithm}") from error
    for piece in pieces:
        digest.update(piece)
    try:
        key = how.certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            stored = how.value[: (key.key_size + 7) // 8]
            # Encode and compare: nothing of the encoding is left to a parser (RFC 8017, 8.2.2).
            recovered = key.recover_data_from_signature(stored, padding.PKCS1v15(), None)
            return recovered == bytes.fromhex(prefix) + digest.digest()
        if isinstance(key, ec.EllipticCurvePublicKey) and how.algorithm in CURVES:
            key.verify(_der(how.value), digest.digest(), ec.ECDSA(utils.Prehashed(CURVES[how.algorithm]())))
            return True
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnsupportedError(f"its key cannot be used ({type(error).__name__})") from error
    raise UnsupportedError(f"its key is neither RSA nor of an elliptic curve with {how.algorithm}")


def _der(data: bytes) -> bytes:
    """DER without the byte that makes an OB even."""
    if len(data) < 2:
        return data
    if data[1] < 0x80:
        return data[: 2 + data[1]]
    count = data[1] & 0x7F
    return data[: 2 + count + int.from_bytes(data[2 : 2 + count], "big")]


def _certificate(value: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(_der(value))
    except (ValueError, UnsupportedAlgorithm):
        return None


def _value(elements: Elements, tag: int) -> bytes:
    return elements[tag].value if tag in elements else b""


def _text(elements: Elements, tag: int) -> str:
    return _value(elements, tag).decode("latin-1").strip(" \0")


def _when(text: str) -> datetime | None:
    """A DT (PS3.5 6.2) in UTC, down to the second; without an offset it is taken for UTC."""
    match = re.fullmatch(r"(\d{14})(?:\.\d{1,6})?([+-]\d{4})?", text)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1] + (match[2] or "+0000"), "%Y%m%d%H%M%S%z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _tags(value: bytes, *, little: bool) -> tuple[int, ...]:
    """The values of an AT: group and element, two bytes each."""
    words = np.frombuffer(value[: len(value) // 4 * 4], "<u2" if little else ">u2").astype(np.int64)
    return tuple(int(group) << 16 | int(number) for group, number in words.reshape(-1, 2))


# --- what is said of it ---


def _said(parsed: Parsed, level: Level, one: Signature, trusted: Trust, source: str) -> Iterator[Seen]:
    if one.outcome == "broken":
        when = f" on {one.when:%Y-%m-%d}" if one.when else ""
        text = f"What the digital signature{one.place} covers was changed after it was signed{when} ({one.signer})."
        yield seen.broken(CHECK, text, MAC_CLAUSE, source)
        return
    if one.outcome == "unchecked":
        text = f"The digital signature{one.place} cannot be checked: {one.reason}."
        yield seen.warning("signature-unchecked", text, MAC_CLAUSE, source)
        return
    if one.algorithm in WEAK:
        text = f"The digital signature{one.place} uses {one.algorithm}, of which collisions can be made."
        yield seen.note("signature-weak", text, PROFILE_CLAUSE, source)
    untimely = list(_untimely(one, source))
    yield from untimely
    bare = list(_bare(parsed, level, one, source))
    yield from bare
    yield _vouched(one, trusted, source, whole=not level.name and not untimely and not _warns(bare))


def _warns(seen_: list[Seen]) -> bool:
    return any(one.finding.severity != "note" for one in seen_)


def _vouched(one: Signature, trusted: Trust, source: str, *, whole: bool) -> Seen:
    refusal = "it states no time" if one.when is None else _refusal(one, trusted, one.when)
    if refusal is not None:
        text = (
            f"The digital signature{one.place} is mathematically intact, but nobody whom you trust vouches for it "
            f"({refusal}): whoever changes a file can sign it anew. Signer: {one.signer}."
        )
        return seen.note("signature-untrusted", text, PROFILE_CLAUSE, source)
    text = f"The digital signature{one.place} is intact and vouched for. Signer: {one.signer}."
    return (seen.verified if whole else seen.note)(CHECK, text, PROFILE_CLAUSE, source)


def _refusal(one: Signature, trusted: Trust, when: datetime) -> str | None:
    if one.certificate is None:
        return "its certificate cannot be read"
    return trusted.refusal(one.certificate, when)


def _untimely(one: Signature, source: str) -> Iterator[Seen]:
    """A time that does not fit the certificate, or has not come yet."""
    if one.when is None or one.certificate is None:
        return
    first, last = one.certificate.not_valid_before_utc, one.certificate.not_valid_after_utc
    if not first - SLACK <= one.when <= last + SLACK:
        text = (
            f"The digital signature{one.place} is dated {one.when:%Y-%m-%d}, when its certificate was not valid "
            f"({first:%Y-%m-%d} to {last:%Y-%m-%d})."
        )
        yield seen.contradiction("signature-time", text, "RFC 5280 6.1.3", source)
    if one.when > datetime.now(UTC) + SLACK:
        text = f"The digital signature{one.place} is dated in the future."
        yield seen.contradiction("signature-time", text, "PS3.3 C.12.1.1.3", source)


def _bare(parsed: Parsed, level: Level, one: Signature, source: str) -> Iterator[Seen]:
    """What the signature of an object leaves out."""
    if level.name:
        return
    if parsed.pixels is not None and parsed.pixels.tag not in one.tags:
        text = "The digital signature does not cover the pixel data: it says nothing of the picture."
        yield seen.warning("signature-coverage", text, COVER_CLAUSE, source)
    for words, severe in ((IMAGE, True), (PATIENT, False)):
        left = [word for word in words if word in parsed.dataset and tag_for_keyword(word) not in one.tags]
        if left:
            text = f"The digital signature does not cover {', '.join(left)}."
            make = seen.warning if severe else seen.note
            yield make("signature-coverage", text, COVER_CLAUSE, source)
