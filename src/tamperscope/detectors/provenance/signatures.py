"""DICOM digital signatures (PS3.15 annex C, PS3.3 C.12.1.1.3): do they hold, what do they cover, who vouches for them.

A signature that does not match is proof of a change, whoever made it. One that matches proves little by itself: anybody
can sign a changed file anew, with a certificate of their own. Only where a chain leads from the certificate to one that
the caller trusts, and the signature covers the pixels and what they mean, is a file "verified".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import DT

from tamperscope.detectors.provenance import seen, trust
from tamperscope.detectors.provenance.mac import NATIVE, Writer
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.detectors.provenance.trust import Trust
from tamperscope.errors import UnsupportedError
from tamperscope.formats import dicom
from tamperscope.formats.dicom import Parsed
from tamperscope.limits import Limits

CHECK = "signature"
MAC_CLAUSE, PROFILE_CLAUSE, COVER_CLAUSE = "PS3.3 C.12.1.1.3.1", "PS3.15 C.1", "PS3.15 C.2"
SIGNATURES, PARAMETERS = 0xFFFAFFFA, 0x4FFE0001
MARKS = (b"\xfa\xff\xfa\xff", b"\xff\xfa\xff\xfa", b"\xfe\x4f\x01\x00", b"\x4f\xfe\x00\x01")
"""Their tags as bytes, little and big endian: the cheap look that most files end with."""
NOT_SIGNED = frozenset({0x04000115, 0x04000120, 0x04000305, 0x04000310})
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
DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Level:
    """A data set that may hold signatures: the object itself, or an item of a sequence in it."""

    name: str
    """Empty for the object itself."""
    dataset: Dataset
    rest: Dataset
    """What lies behind the pixels: of the object itself alone."""

    @property
    def parts(self) -> tuple[Dataset, Dataset]:
        """Both halves."""
        return self.dataset, self.rest

    def items(self, tag: int) -> list[Dataset]:
        """The items of a sequence at this level."""
        found: list[Dataset] = []
        for part in self.parts:
            if tag in part:
                value = part[tag].value
                found += [item for item in value if isinstance(item, Dataset)] if _is_sequence(value) else []
        return found


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


def check(opened: Opened, limits: Limits, trusted: Trust) -> Iterator[Seen]:
    """Verify every signature of one file, those in items of sequences too.

    Args:
        opened: the file.
        limits: for a second parse, which happens only where there is a signature.
        trusted: whom the caller trusts.
    """
    if opened.parsed is None or not mentioned(opened.parsed):
        return
    # Values must be as they were stored, and the other checks have converted some of them.
    parsed = dicom.parse(opened.data, opened.source, limits, whole=True)
    for level in _levels(parsed):
        found = [_verified(parsed, level, item) for item in level.items(SIGNATURES)]
        for signature in found:
            yield from _said(parsed, level, signature, trusted, opened.source)
        if not found and level.items(PARAMETERS):
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
    pixels = parsed.pixels
    if pixels is None:
        return len(parsed.data), 0
    encapsulated = pixels.length == dicom.UNDEFINED
    return pixels.offset, dicom.fragments(parsed, pixels)[1] if encapsulated else pixels.offset + pixels.length


def _levels(parsed: Parsed) -> Iterator[Level]:
    yield Level("", parsed.dataset, dicom.trailing(parsed))
    yield from _inner(parsed.dataset, "", 0)


def _inner(dataset: Dataset, name: str, depth: int) -> Iterator[Level]:
    """The items of all sequences, and theirs."""
    for tag in sorted(dataset.keys()) if depth < DEEPEST else ():
        if tag in (SIGNATURES, PARAMETERS) or not _holds_items(dataset, tag):
            continue
        word = keyword_for_tag(tag) or str(tag)
        value = dataset[tag].value
        for index, item in enumerate(value if _is_sequence(value) else (), start=1):
            inner = f"{name}{'.' if name else ''}{word}[{index}]"
            if isinstance(item, Dataset):
                yield Level(inner, item, Dataset())
                yield from _inner(item, inner, depth + 1)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _holds_items(dataset: Dataset, tag: BaseTag) -> bool:
    """Whether it is a sequence; nothing else is converted, since that would lose the stored bytes."""
    vr = getattr(dataset.get_item(tag), "VR", None)
    if vr:
        return bool(vr == "SQ")
    try:
        return not tag.is_private and dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


# --- does it hold? ---


def _verified(parsed: Parsed, level: Level, item: Dataset) -> Signature:
    syntax, algorithm = "", ""
    tags: tuple[int, ...] = ()
    own = _own(parsed, item)
    number = dicom.integer(item, "MACIDNumber")
    certificate = _certificate(dicom.value(item, "CertificateOfSigner"))
    when = _when(dicom.text(item, "DigitalSignatureDateTime"))
    for one in level.items(PARAMETERS):
        if number is not None and dicom.integer(one, "MACIDNumber") == number:
            syntax = dicom.text(one, "MACCalculationTransferSyntaxUID") or ""
            algorithm = (dicom.text(one, "MACAlgorithm") or "").upper()
            tags = _tags(dicom.value(one, "DataElementsSigned"))
            break
    else:
        reason = "the MAC Parameters that it refers to are missing"
        return Signature(level.name, "unchecked", reason, algorithm, tags, certificate, when)
    try:
        if certificate is None:
            raise UnsupportedError("its certificate cannot be read", hint="")
        value = dicom.value(item, "Signature")
        holds = _holds(parsed, level, own, syntax, algorithm, tags, certificate, value)
    except UnsupportedError as error:
        return Signature(level.name, "unchecked", error.message, algorithm, tags, certificate, when)
    return Signature(level.name, "intact" if holds else "broken", "", algorithm, tags, certificate, when)


def _own(parsed: Parsed, item: Dataset) -> dict[str, bytes]:
    """The signature's own item in both ways in which it may go into the stream: before its values are converted."""
    tags = [tag for tag in sorted(item.keys()) if int(tag) not in NOT_SIGNED]
    return {syntax: b"".join(Writer(parsed, syntax, False).elements(item, tags)) for syntax in NATIVE}


def _holds(
    parsed: Parsed,
    level: Level,
    own: dict[str, bytes],
    syntax: str,
    algorithm: str,
    tags: tuple[int, ...],
    certificate: x509.Certificate,
    value: Any,
) -> bool:
    if algorithm not in DIGESTS:
        raise UnsupportedError(f"its MAC algorithm {algorithm[:16] or 'is not stated'} is unknown", hint="")
    if not _is_calculable(syntax):
        raise UnsupportedError(f"a MAC in transfer syntax {syntax[:64] or 'unknown'} cannot be calculated", hint="")
    # Implicit VR does not keep whether a value was US or SS: what was meant first, then what other toolkits take.
    meant = dicom.integer(parsed.dataset, "PixelRepresentation") == 1
    guesses = (meant, False) if parsed.dataset.original_encoding[0] and meant else (meant,)
    for signed in guesses:
        writer = Writer(parsed, syntax, signed)
        pieces = chain(*(_covered(writer, level, tag) for tag in tags))
        ending = own.get(syntax, own[NATIVE[0]])
        if _matches(chain(pieces, (ending,)), algorithm, certificate, value):
            return True
    return False


def _is_calculable(syntax: str) -> bool:
    known = UID(syntax)
    return syntax in NATIVE or (known.is_transfer_syntax and known.is_encapsulated)


def _covered(writer: Writer, level: Level, tag: int) -> Iterator[bytes]:
    pixels = writer.parsed.pixels
    if pixels is not None and tag == pixels.tag and not level.name:
        yield from writer.pixels()
        return
    for part in level.parts:
        yield from writer.elements(part, (tag,))


def _matches(pieces: Iterator[bytes], algorithm: str, certificate: x509.Certificate, value: Any) -> bool:
    """Whether the signature is one of these bytes by the key of the certificate (PS3.15 C.1: RSA, PKCS #1)."""
    name, prefix = DIGESTS[algorithm]
    try:
        digest = hashlib.new(name, usedforsecurity=False)
    except ValueError as error:
        raise UnsupportedError(f"the OpenSSL of this machine has no {algorithm}", hint="") from error
    for piece in pieces:
        digest.update(piece)
    try:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            stored = bytes(value or b"")[: (key.key_size + 7) // 8]
            # Encode and compare: nothing of the encoding is left to a parser (RFC 8017, 8.2.2).
            recovered = key.recover_data_from_signature(stored, padding.PKCS1v15(), None)
            return recovered == bytes.fromhex(prefix) + digest.digest()
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in CURVES:
            stored = _der(bytes(value or b""))
            key.verify(stored, digest.digest(), ec.ECDSA(utils.Prehashed(CURVES[algorithm]())))
            return True
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnsupportedError(f"its key cannot be used ({type(error).__name__})", hint="") from error
    raise UnsupportedError(f"its key is neither RSA nor of an elliptic curve with {algorithm}", hint="")


def _der(data: bytes) -> bytes:
    """DER without the byte that makes an OB even."""
    if len(data) < 2:
        return data
    if data[1] < 0x80:
        return data[: 2 + data[1]]
    count = data[1] & 0x7F
    return data[: 2 + count + int.from_bytes(data[2 : 2 + count], "big")]


def _certificate(value: Any) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(_der(bytes(value or b"")))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _when(text: str | None) -> datetime | None:
    try:
        found = DT(text) if text else None
    except ValueError:
        return None
    if found is None:
        return None
    when = datetime(found.year, found.month, found.day, found.hour, found.minute, found.second, tzinfo=found.tzinfo)
    return when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _tags(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(tag) for tag in (value if _is_sequence(value) else (value,)))


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
