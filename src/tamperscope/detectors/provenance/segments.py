"""The parts of a JPEG and of a PNG that stand around the picture. What is damaged ends the walk and raises nothing."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
SCAN = 0xDA
STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a length (ITU-T T.81, table B.1)."""
MOST = 20_000
"""Parts that are walked through at most."""
_SEGMENT, _CHUNK = Struct(">BBH"), Struct(">L4s")


def of_jpeg(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment up to the first scan (ITU-T T.81 B.1.1)."""
    offset = 2
    for _ in range(MOST):
        if not data.startswith(JPEG_START) or offset + _SEGMENT.size > len(data):
            return
        mark, code, length = _SEGMENT.unpack_from(data, offset)
        if mark != 0xFF or code == SCAN:
            return
        if code == 0xFF or code in STANDALONE:
            offset += 1 if code == 0xFF else 2
            continue
        yield code, data[offset + 4 : offset + 2 + length]
        offset += 2 + max(length, 2)


def of_png(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each chunk (PNG 3rd ed., 5.3)."""
    offset = len(PNG_START)
    for _ in range(MOST):
        if not data.startswith(PNG_START) or offset + _CHUNK.size > len(data):
            return
        length, kind = _CHUNK.unpack_from(data, offset)
        yield kind, data[offset + 8 : offset + 8 + length]
        offset += 12 + length


def metadata(data: bytes, most: int) -> bytes:
    """What stands around the picture of a JPEG or PNG; of any other file its first and last bytes.

    Args:
        data: the file.
        most: bytes that are given at most.
    """
    if data.startswith(JPEG_START):
        return b"\n".join(content for code, content in of_jpeg(data) if code >= 0xE0)[:most]
    if data.startswith(PNG_START):
        return b"\n".join(kind + b"\n" + content for kind, content in of_png(data) if kind != b"IDAT")[:most]
    return data[: most // 2] + data[max(most // 2, len(data) - most // 2) :]
