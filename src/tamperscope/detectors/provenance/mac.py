"""The bytes that a digital signature covers: data elements put into a stream as PS3.3 C.12.1.1.3.1.1 has it.

Tag, VR, length and value of each element in the transfer syntax of the calculation; a sequence goes in without its
length, its items as their tags alone, and a delimiter ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack

import numpy as np
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tamperscope.detectors.provenance.raw import LONG, Element, Elements
from tamperscope.errors import UnsupportedError
from tamperscope.formats import dicom
from tamperscope.formats.dicom import Parsed

ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
WIDTHS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), "u2"),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), "u4"),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), "u8"),
}
"""VRs whose values are turned where a file is big endian."""
AMBIGUOUS = {"US or OW": "OW", "OB or OW": "OW"}
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
HINT = "check the copy that was signed"


@dataclass(frozen=True, slots=True)
class Writer:
    """How elements of one file go into the stream."""

    parsed: Parsed
    syntax: str
    """MAC Calculation Transfer Syntax UID (0400,0010)."""
    signed: bool
    """What implicit VR leaves open where a value is "US or SS": whether it is SS."""

    def elements(self, elements: Elements, tags: Iterable[int]) -> Iterator[bytes]:
        """The elements with these tags, those that are there, in the order given.

        Raises:
            UnsupportedError: the stream cannot be made of what is in the file.
        """
        for tag in tags:
            if tag in elements:
                yield from self._element(elements, elements[tag])

    def pixels(self) -> Iterator[bytes]:
        """The pixel data of the object: its values, or its fragments where it is encapsulated.

        Raises:
            UnsupportedError: it was encoded in another transfer syntax when it was signed.
        """
        parsed, pixels = self.parsed, self.parsed.pixels
        if pixels is None:
            return
        encapsulated = pixels.length == dicom.UNDEFINED
        if encapsulated != (self.syntax not in NATIVE) or (encapsulated and self.syntax != parsed.transfer_syntax):
            raise UnsupportedError(
                f"the pixel data was signed in transfer syntax {self.syntax} and is stored in {parsed.transfer_syntax}",
                hint=HINT,
            )
        if not encapsulated:
            vr = pixels.vr or self._meant(pixels.tag, {})
            value = parsed.data[pixels.offset : pixels.offset + pixels.length]
            yield from self._plain(pixels.tag, vr, self._turned(value, vr))
            return
        yield self._head(pixels.tag, "OB")
        for offset, length in dicom.fragments(parsed, pixels)[0]:
            yield ITEM
            yield parsed.data[offset : offset + length]
        yield SEQUENCE_END

    def _element(self, beside: Elements, element: Element) -> Iterator[bytes]:
        if element.items is not None:
            yield self._head(element.tag, element.vr or "SQ")
            for item in element.items:
                yield ITEM
                yield from self.elements(item, sorted(item))
            yield SEQUENCE_END
            return
        vr = element.vr or self._meant(element.tag, beside)
        yield from self._plain(element.tag, vr, self._turned(element.value, vr))

    def _meant(self, tag: int, beside: Elements) -> str:
        """The VR by the dictionary (PS3.6), which is all that implicit VR leaves.

        Raises:
            UnsupportedError: the dictionary does not have it; where VRs are not part of the stream that is no matter.
        """
        known = BaseTag(tag)
        if known.is_private_creator:
            return "LO"
        try:
            found = _private(known, beside) if known.is_private else dictionary_VR(known)
        except KeyError as error:
            if self.syntax == ImplicitVRLittleEndian:
                return "UN"
            raise UnsupportedError(
                f"the value representation of {known} was signed, and implicit VR does not keep it", hint=HINT
            ) from error
        if found.startswith("US or SS"):
            return "SS" if self.signed else "US"
        return AMBIGUOUS.get(found, found)

    def _plain(self, tag: int, vr: str, value: bytes) -> Iterator[bytes]:
        long = self.syntax == ImplicitVRLittleEndian or vr in LONG
        if not long and len(value) > 0xFFFF:
            raise UnsupportedError(f"the value of {BaseTag(tag)} is too long for explicit VR", hint=HINT)
        yield self._head(tag, vr) + pack("<L" if long else "<H", len(value))
        yield value

    def _head(self, tag: int, vr: str) -> bytes:
        head = pack("<HH", tag >> 16, tag & 0xFFFF)
        if self.syntax == ImplicitVRLittleEndian:
            return head
        return head + vr.encode("ascii") + (b"\0\0" if vr in LONG else b"")

    def _turned(self, value: bytes, vr: str) -> bytes:
        """Little endian, as every transfer syntax of a calculation is here."""
        width = WIDTHS.get(vr)
        if self.parsed.dataset.original_encoding[1] or width is None:
            return value
        return np.frombuffer(value, f">{width}").astype(f"<{width}").tobytes()


def _private(tag: BaseTag, beside: Elements) -> str:
    creator = beside.get(tag.group << 16 | tag.element >> 8)
    name = creator.value.decode("latin-1").strip(" \0") if creator is not None else ""
    return private_dictionary_VR(tag, name)
