"""The elements of a data set as they lie in the file (PS3.5 7), byte for byte.

A signature covers stored bytes. pydicom converts some values as soon as it comes upon them, and does not keep what they
were made of; so signed files are walked through here, with bounds on everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error
from typing import TypeAlias

from pydicom.datadict import dictionary_VR

from tamperscope.errors import UnreadableError
from tamperscope.formats import dicom
from tamperscope.formats.dicom import Parsed

LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with two reserved bytes and a length of four (PS3.5 7.1.2)."""
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEEPEST = 32
"""Sequences inside sequences."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its value as stored, or the items of a sequence."""

    tag: int
    vr: str | None
    """As stored; None in implicit VR, which has none."""
    value: bytes
    items: tuple[Elements, ...] | None = None


Elements: TypeAlias = dict[int, Element]


def around(parsed: Parsed) -> Elements:
    """All elements of an object but the pixel data.

    Raises:
        UnreadableError: damaged.
    """
    try:
        walker = _Walker(parsed)
        start = 0 if parsed.transfer_syntax.is_deflated else _past_meta(parsed.data)
        found, _ = walker.elements(start, len(parsed.data), 0)
        if parsed.pixels is not None:
            rest, end = walker.elements(pixels_end(parsed), len(parsed.data), 0)
            if end + 8 <= len(parsed.data) or found.keys() & rest.keys():
                raise ValueError("elements that a reader may take or leave")
            found |= rest
    except (error, ValueError) as damage:
        raise UnreadableError(f"{parsed.source}: damaged data set", hint="fetch the file again") from damage
    return found


def pixels_end(parsed: Parsed) -> int:
    """Where the pixel data ends; 0 if there is none.

    Raises:
        UnreadableError: it is damaged, or cut short.
    """
    pixels = parsed.pixels
    if pixels is None:
        return 0
    if pixels.length == dicom.UNDEFINED:
        return dicom.fragments(parsed, pixels)[1]
    return pixels.offset + pixels.length


def inner(elements: Elements, name: str = "") -> Iterator[tuple[str, Elements]]:
    """The items of all sequences below, and theirs, each with its place: ``1234ABCD[1].5678EF01[2]``."""
    for element in elements.values():
        for number, item in enumerate(element.items or (), start=1):
            place = f"{name}{'.' if name else ''}{element.tag:08X}[{number}]"
            yield place, item
            yield from inner(item, place)


def _past_meta(data: bytes) -> int:
    """Where the data set begins: behind group 0002, which is always explicit little endian (PS3.10 7.1)."""
    at = 132 if data[128:132] == b"DICM" else 0
    while data[at : at + 2] == b"\x02\x00":
        long = data[at + 4 : at + 6].decode("ascii") in LONG
        size = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
        at += (12 if long else 8) + size
    return at


class _Walker:
    """Walks through the bytes of one object."""

    def __init__(self, parsed: Parsed, *, explicit: bool | None = None) -> None:
        implicit, little = parsed.dataset.original_encoding
        order = "<" if little else ">"
        self._parsed, self._data = parsed, parsed.data
        self._explicit = not implicit if explicit is None else explicit
        self._tag, self._short, self._word = Struct(f"{order}HH"), Struct(f"{order}H"), Struct(f"{order}L")

    def elements(self, at: int, end: int, depth: int) -> tuple[Elements, int]:
        """Those from ``at`` to ``end``, to the end of an item or to the pixel data, and where it went on from there."""
        if depth > DEEPEST:
            raise ValueError(f"sequences more than {DEEPEST} deep")
        found: Elements = {}
        while at + 8 <= end:
            group, number = self._tag.unpack_from(self._data, at)
            tag = group << 16 | number
            if tag == ITEM_END:
                return found, at + 8
            if tag in dicom.PIXEL_KEYWORDS and depth == 0:
                return found, at
            # Readers differ in which of two they take, so a signature could cover the one that nobody sees.
            if tag in found:
                raise ValueError(f"element {tag:08X} twice")
            vr, length, start = self._head(at, tag)
            found[tag], at = self._element(tag, vr, length, start, end, depth)
        return found, at

    def _head(self, at: int, tag: int) -> tuple[str | None, int, int]:
        """VR, length, and where the value begins."""
        if not self._explicit or tag >> 16 == 0xFFFE:
            return None, self._word.unpack_from(self._data, at + 4)[0], at + 8
        vr = self._data[at + 4 : at + 6].decode("ascii")
        if vr in LONG:
            return vr, self._word.unpack_from(self._data, at + 8)[0], at + 12
        return vr, self._short.unpack_from(self._data, at + 6)[0], at + 8

    def _element(self, tag: int, vr: str | None, length: int, start: int, end: int, depth: int) -> tuple[Element, int]:
        if length == dicom.UNDEFINED or vr == "SQ" or (vr is None and _is_sequence(tag)):
            # PS3.5 6.2.2, note 4: what is UN and has no length is encoded in implicit VR.
            walker = _Walker(self._parsed, explicit=False) if vr == "UN" else self
            items, at = walker.items(start, end if length == dicom.UNDEFINED else start + length, depth)
            return Element(tag, vr, b"", tuple(items)), at
        if start + length > end:
            raise ValueError(f"element {tag:08X} reaches beyond what holds it")
        return Element(tag, vr, self._data[start : start + length]), start + length

    def items(self, at: int, end: int, depth: int) -> tuple[list[Elements], int]:
        """The items of a sequence up to ``end`` or its delimiter, and where it went on from there (PS3.5 7.5)."""
        found: list[Elements] = []
        while at + 8 <= end:
            group, number = self._tag.unpack_from(self._data, at)
            (length,) = self._word.unpack_from(self._data, at + 4)
            at += 8
            if group << 16 | number == SEQUENCE_END:
                return found, at
            if group << 16 | number != ITEM:
                raise ValueError("no item where one should be")
            if length != dicom.UNDEFINED and at + length > end:
                raise ValueError("an item reaches beyond its sequence")
            item, at = self.elements(at, end if length == dicom.UNDEFINED else at + length, depth + 1)
            found.append(item)
        return found, at


def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
