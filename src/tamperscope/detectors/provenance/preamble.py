"""What else a file is: the 128 bytes before a DICOM file, and what is hung on behind a picture.

PS3.10 7.1 leaves the preamble to the application, so that one file can be DICOM and TIFF at once. A program may stand
there as well (CVE-2019-11687): such a file is an image to a PACS and runs where it is opened as what it also is.
"""

from __future__ import annotations

from collections.abc import Iterator

from tamperscope.detectors.provenance import seen
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen

SIZE = 128
CLAUSE, TIFF_CLAUSE = "CVE-2019-11687", "PS3.10 7.1"
PROGRAMS = {
    b"MZ": "a Windows program (PE)",
    b"\x7fELF": "a Linux program (ELF)",
    b"\xfe\xed\xfa\xce": "a macOS program (Mach-O)",
    b"\xfe\xed\xfa\xcf": "a macOS program (Mach-O)",
    b"\xce\xfa\xed\xfe": "a macOS program (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a macOS program (Mach-O)",
    b"\xca\xfe\xba\xbe": "a Java class or a macOS program",
    b"#!": "a script",
}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ZIP_END = b"PK\x05\x06"
ZIP_TAIL = 22 + 65_535
"""Where the end of central directory of a zip lies, at the furthest (APPNOTE 4.3.16)."""
ENDS = {b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
"""What the last bytes of a PNG (PNG 3rd ed., 11.2.5) and of a JPEG (ITU-T T.81 B.1.1.3) are."""


def check(opened: Opened) -> Iterator[Seen]:
    """What the file is beside an image."""
    if opened.format == "dicom" and opened.data[SIZE : SIZE + 4] == b"DICM":
        yield from _preamble(opened.data[:SIZE], opened.source)
    if opened.format == "picture":
        yield from _behind(opened)
    if ZIP_END in opened.data[-ZIP_TAIL:] and _is_zip(opened.data):
        text = "The file is a zip archive as well: what it holds stands behind the image."
        yield seen.warning("polyglot", text, CLAUSE, opened.source)


def _preamble(preamble: bytes, source: str) -> Iterator[Seen]:
    program = next((name for magic, name in PROGRAMS.items() if preamble.startswith(magic)), None)
    if program is not None:
        text = f"The preamble is the beginning of {program}: the file can be run as one. Do not open it but as DICOM."
        yield seen.contradiction("preamble", text, CLAUSE, source)
    elif preamble.startswith(TIFF):
        text = "The preamble makes the file a TIFF as well, which is provided for."
        yield seen.note("preamble", text, TIFF_CLAUSE, source)
    elif preamble.strip(b"\0"):
        text = "The preamble holds something, and is of no known kind."
        yield seen.note("preamble", text, TIFF_CLAUSE, source)


def _behind(opened: Opened) -> Iterator[Seen]:
    """Bytes behind the end of a picture. Cameras hang previews there, so it is a note."""
    for start, end in ENDS.items():
        if not opened.data.startswith(start):
            continue
        found = opened.data.rfind(end)
        rest = opened.data[found + len(end) :].strip(b"\0\r\n ") if found >= 0 else b""
        if rest:
            text = f"Behind the end of the picture stand {len(rest)} more bytes."
            yield seen.note("polyglot", text, "ITU-T T.81 B.1.1.3 / PNG 11.2.5", opened.source)


def _is_zip(data: bytes) -> bool:
    """Whether the end record names a central directory that is where it says, seen from the end (APPNOTE 4.3.16)."""
    at = data.rfind(ZIP_END)
    size = int.from_bytes(data[at + 12 : at + 16], "little")
    return at + 22 <= len(data) and 0 < size <= at and data[at - size : at - size + 4] == b"PK\x01\x02"
