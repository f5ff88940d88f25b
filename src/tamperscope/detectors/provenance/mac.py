"""The bytes that a digital signature covers: data elements put into a stream as PS3.3 C.12.1.1.3.1.1 has it.

Tag, VR, length and value of each element in the transfer syntax of the calculation; a sequence goes in without its
length, its items as their tags alone, and a delimiter ends it. Values are taken as they lie in the file: whatever is
read, converted and written again may differ from what was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tamperscope.errors import UnsupportedError
from tamperscope.formats import dicom
from tamperscope.formats.dicom import Parsed

PIXEL_REPRESENTATION = 0x00280103
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with two reserved bytes and a length of four (PS3.5 7.1.2)."""
WIDTHS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), "u2"),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), "u4"),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), "u8"),
}
"""VRs whose values are turned where a file is big endian."""
AMBIGUOUS = {"US or OW": "OW", "OB or OW": "OW"}
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
HINT = "ask whoever signed it"


@dataclass(frozen=True, slots=True)
class Writer:
    """How elements of one file go into the stream."""

    parsed: Parsed
    syntax: str
    """MAC Calculation Transfer Syntax UID (0400,0010)."""
    signed: bool
    """What implicit VR leaves open where a value is "US or SS": whether it is SS."""

    def elements(self, dataset: Dataset, tags: Iterable[int]) -> Iterator[bytes]:
        """The elements of ``dataset`` with these tags, those that are there, in the order given.

        Raises:
            UnsupportedError: the stream cannot be made of what is in the file.
        """
        for tag in tags:
            if tag in dataset:
                yield from self._element(dataset, BaseTag(tag))

    def pixels(self) -> Iterator[bytes]:
        """The pixel data of the object: its values, or its fragments where it is encapsulated.

        Raises:
            UnsupportedError: it was encoded in another transfer syntax when it was signed.
        """
        parsed, pixels = self.parsed, self.parsed.pixels
        if pixels is None:
            return
        tag = BaseTag(pixels.tag)
        encapsulated = pixels.length == dicom.UNDEFINED
        if encapsulated != (self.syntax not in NATIVE) or (encapsulated and self.syntax != parsed.transfer_syntax):
            raise UnsupportedError(
                f"the pixel data was signed in transfer syntax {self.syntax} and is stored in {parsed.transfer_syntax}",
                hint="check the copy that was signed",
            )
        if not encapsulated:
            vr = pixels.vr or self._vr(parsed.dataset, tag, None)
            value = parsed.data[pixels.offset : pixels.offset + pixels.length]
            yield from self._plain(tag, vr, self._turned(value, vr))
            return
        yield self._head(tag, "OB")
        for offset, length in dicom.fragments(parsed, pixels)[0]:
            yield ITEM
            yield parsed.data[offset : offset + length]
        yield SEQUENCE_END

    def _element(self, dataset: Dataset, tag: BaseTag) -> Iterator[bytes]:
        raw = dataset.get_item(tag)
        vr = self._vr(dataset, tag, getattr(raw, "VR", None))
        if vr == "SQ":
            yield self._head(tag, vr)
            for item in dataset[tag].value:
                yield ITEM
                yield from self.elements(item, sorted(item.keys()))
            yield SEQUENCE_END
        elif isinstance(raw, RawDataElement):
            yield from self._plain(tag, vr, self._turned(raw.value or b"", vr))
        elif tag == PIXEL_REPRESENTATION and isinstance(raw.value, int):
            # pydicom converts this one as soon as it comes upon a sequence.
            yield from self._plain(tag, vr, pack("<H", raw.value))
        else:
            raise UnsupportedError(f"the value of {tag} is not kept as it was stored", hint=HINT)

    def _vr(self, dataset: Dataset, tag: BaseTag, stored: str | None) -> str:
        """As stored, else by the dictionary (PS3.6), which is all that implicit VR leaves."""
        if stored:
            return stored
        if tag.is_private_creator:
            return "LO"
        try:
            found = _private(dataset, tag) if tag.is_private else dictionary_VR(tag)
        except KeyError as error:
            raise UnsupportedError(
                f"the value representation of {tag} was signed, and implicit VR does not keep it", hint=HINT
            ) from error
        if found.startswith("US or SS"):
            return "SS" if self.signed else "US"
        return AMBIGUOUS.get(found, found)

    def _plain(self, tag: BaseTag, vr: str, value: bytes) -> Iterator[bytes]:
        if self.syntax == ImplicitVRLittleEndian:
            yield _tag(tag) + pack("<L", len(value))
        elif vr in LONG:
            yield self._head(tag, vr) + pack("<L", len(value))
        elif len(value) > 0xFFFF:
            raise UnsupportedError(f"the value of {tag} is too long for explicit VR", hint=HINT)
        else:
            yield self._head(tag, vr) + pack("<H", len(value))
        yield value

    def _head(self, tag: BaseTag, vr: str) -> bytes:
        if self.syntax == ImplicitVRLittleEndian:
            return _tag(tag)
        return _tag(tag) + vr.encode("ascii") + (b"\0\0" if vr in LONG else b"")

    def _turned(self, value: bytes, vr: str) -> bytes:
        """Little endian, as every transfer syntax of a calculation is here."""
        width = WIDTHS.get(vr)
        if self.parsed.dataset.original_encoding[1] or width is None:
            return value
        return np.frombuffer(value, f">{width}").astype(f"<{width}").tobytes()


def _private(dataset: Dataset, tag: BaseTag) -> str:
    creator: Any = dataset.get_item(BaseTag(tag.group << 16 | tag.element >> 8))
    value = getattr(creator, "value", None)
    name = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return private_dictionary_VR(tag, name.strip(" \0"))


def _tag(tag: BaseTag) -> bytes:
    return pack("<HH", tag.group, tag.element)
