"""One file of a series, read once for all checks: its bytes, and of DICOM the whole header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from tamperscope.formats import dicom
from tamperscope.formats.dicom import Parsed
from tamperscope.limits import Limits
from tamperscope.records import Format


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What a check sees of one file."""

    source: str
    data: bytes
    """As they lie in the file."""
    format: Format
    parsed: Parsed | None = None
    """Of DICOM: every element up to the pixels."""

    @property
    def dataset(self) -> Dataset:
        """The elements of a DICOM object; none of anything else."""
        return self.parsed.dataset if self.parsed is not None else Dataset()

    @property
    def meta(self) -> Dataset:
        """The File Meta Information (PS3.10 7.1)."""
        return getattr(self.dataset, "file_meta", None) or Dataset()

    def text(self, keyword: str) -> str | None:
        """The value of an element as a string; None if it is absent, empty or cannot be converted."""
        return dicom.text(self.dataset, keyword)

    def value(self, keyword: str) -> Any:
        """The value of an element; None if it is absent, empty or cannot be converted."""
        return dicom.value(self.dataset, keyword)

    def codestreams(self) -> Iterator[bytes]:
        """The frames of encapsulated pixel data (PS3.5 A.4), compressed as they are."""
        pixels = self.parsed.pixels if self.parsed is not None else None
        if self.parsed is None or pixels is None or pixels.length != dicom.UNDEFINED:
            return
        frames = self.parsed.shape[0]
        yield from generate_frames(self.parsed.data[pixels.offset :], number_of_frames=frames)


def opened(data: bytes, source: str, kind: Format, limits: Limits) -> Opened:
    """Parse what is to be parsed.

    Raises:
        InputError: a DICOM header is damaged or asks for too much.
    """
    parsed = dicom.parse(data, source, limits, whole=True) if kind == "dicom" else None
    return Opened(source, data, kind, parsed)
