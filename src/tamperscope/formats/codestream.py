"""What a compressed frame says of itself, read from its first bytes, and whether that fits the DICOM header.

A decoder trusts the size in the codestream, so 600 bytes can ask for gigabytes whatever the header says.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, error

from pydicom import uid

from tamperscope.errors import UnreadableError, UnsupportedError
from tamperscope.formats.dicom import Parsed, integer

STANDALONE = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers without a length: TEM, RST0-7, SOI (ITU-T T.81, table B.1)."""
NOT_FRAMES = {0xC4, 0xC8, 0xCC}
"""DHT, JPG and DAC lie among the start-of-frame codes."""
JPEG_LS_FRAME = 0xF7
SCAN = 0xDA
JPEG_END = b"\xff\xd9"
ADOBE = 0xEE
SEGMENT = Struct(">BBH")
FRAME = Struct(">BHHB")
J2K_START = b"\xff\x4f\xff\x51"
JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
RLE_HEADER = Struct("<16L")
RUN = 64
"""Two bytes of PackBits stand for 128 at most (PS3.5 G.3.1)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of a codestream. ``adobe_transform`` is the colour flag of an APP14 segment, if there is one."""

    rows: int
    columns: int
    components: int
    precision: int
    adobe_transform: int | None = None


def check(stream: bytes, parsed: Parsed) -> Frame:
    """Compare a frame's own size with Rows, Columns and Samples per Pixel, before any decoding.

    Raises:
        UnreadableError: no size in it, or another one.
        UnsupportedError: 12-bit JPEG, which no permissively licensed codec decodes.
    """
    _, rows, columns, samples = parsed.shape
    syntax = parsed.transfer_syntax
    if syntax == uid.RLELossless:
        return _check_rle(stream, parsed)
    wavelets = syntax in uid.JPEG2000TransferSyntaxes
    frame = (_jpeg2000 if wavelets else _jpeg)(stream)
    if frame is None:
        raise UnreadableError(f"{parsed.source}: the codestream has no frame header", hint="fetch the file again")
    if (frame.rows, frame.columns, frame.components) != (rows, columns, samples):
        raise UnreadableError(
            f"{parsed.source}: the header declares {rows} x {columns} x {samples}, the codestream "
            f"{frame.rows} x {frame.columns} x {frame.components}",
            hint="do not trust this file",
        )
    # Pillow decodes a stream that was cut near its end; what is missing turns grey.
    if not wavelets and JPEG_END not in stream[-64:]:
        raise UnreadableError(f"{parsed.source}: the codestream is cut short", hint="fetch the file again")
    allocated = integer(parsed.dataset, "BitsAllocated") or 0
    if not 1 <= frame.precision <= allocated:
        raise UnreadableError(
            f"{parsed.source}: {frame.precision} bits in the codestream, {allocated} allocated",
            hint="fetch it again",
        )
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) and frame.precision != 8:
        raise UnsupportedError(
            f"{parsed.source}: no codec for {frame.precision}-bit {syntax.name} ({syntax})",
            hint="export the series as explicit VR little endian",
        )
    return frame


def _check_rle(stream: bytes, parsed: Parsed) -> Frame:
    """PS3.5 G.5. The RLE codec aborts the process where a header promises what its few bytes cannot hold."""
    _, rows, columns, samples = parsed.shape
    bits = integer(parsed.dataset, "BitsAllocated") or 0
    segments = samples * bits // 8
    offsets = RLE_HEADER.unpack_from(stream) if len(stream) >= RLE_HEADER.size else (0,)
    used = offsets[1 : 1 + segments]
    ordered = list(used) == sorted(set(used)) and used[:1] == (RLE_HEADER.size,) and used[-1] < len(stream)
    if offsets[0] != segments or not ordered or (len(stream) - RLE_HEADER.size) * RUN < rows * columns * segments:
        raise UnreadableError(
            f"{parsed.source}: the RLE header does not fit {rows} x {columns} x {samples} at {bits} bits",
            hint="fetch the file again",
        )
    return Frame(rows, columns, samples, bits)


def _jpeg(stream: bytes) -> Frame | None:
    """Walk the segments of JPEG or JPEG-LS up to the start of frame (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    offset, adobe = 2, None
    try:
        while stream[:2] == b"\xff\xd8":
            mark, code, length = SEGMENT.unpack_from(stream, offset)
            if mark != 0xFF or code == SCAN:
                return None
            if code == 0xFF or code in STANDALONE:
                offset += 1 if code == 0xFF else 2
                continue
            if code == ADOBE and stream[offset + 4 : offset + 9] == b"Adobe":
                adobe = stream[offset + 15]
            if code == JPEG_LS_FRAME or (0xC0 <= code <= 0xCF and code not in NOT_FRAMES):
                precision, rows, columns, components = FRAME.unpack_from(stream, offset + SEGMENT.size)
                return Frame(rows, columns, components, precision, adobe)
            offset += 2 + max(length, 2)
    except (error, IndexError):
        return None
    return None


def _jpeg2000(stream: bytes) -> Frame | None:
    """The SIZ segment (ITU-T T.800 A.5.1) of a bare codestream or of the first one in a JP2 file."""
    start = stream.find(J2K_START) if stream.startswith(JP2_SIGNATURE) else 0
    if start < 0 or stream[start : start + 4] != J2K_START or len(stream) < start + 43:
        return None
    right, bottom, left, top = (int.from_bytes(stream[at : at + 4], "big") for at in range(start + 8, start + 24, 4))
    components = int.from_bytes(stream[start + 40 : start + 42], "big")
    return Frame(bottom - top, right - left, components, (stream[start + 42] & 0x7F) + 1)
