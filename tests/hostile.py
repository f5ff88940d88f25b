"""Files that nobody hands in by mistake."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from builders import ct, png, to_bytes, zipped

SLIPS = ("../slip.png", "/slip.png", "C:/slip.png", "a/../../slip.png", "nul.png\0.png")


def film(shade: int = 90) -> bytes:
    """A small picture, which is judged quickly."""
    return png(np.full((64, 64), shade, np.uint8))


def files() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of one of each kind."""
    yield "ratio.zip", zipped({"bomb.dcm": bytes(64 << 20)})
    yield "entries.zip", zipped({f"{number}.png": b"" for number in range(20_001)}, zipfile.ZIP_STORED)
    yield "nested.zip", zipped({"inner.zip": zipped({"film.png": film(1)})})
    yield "slips.zip", slips()
    yield "forged.zip", forged_size()
    yield "long.zip", zipped({f"{'x' * 300}{number}.png": film(10 + number) for number in range(2)})
    yield "surface.zip", zipped({"a": film(20), "a/b.png": film(21), "IM:1.png": film(22), "IM_1.png": film(23)})
    yield "deflated.dcm", to_bytes(ct(np.zeros((1200, 1200), np.int16), syntax=DeflatedExplicitVRLittleEndian))
    yield "jpeg2000.dcm", jpeg2000()
    yield "size.dcm", to_bytes(ct(Rows=65535, Columns=65535, NumberOfFrames=9999))
    yield "nested.dcm", nested()
    yield "polyglot.dcm", b"MZ" + b"\x90" * 126 + to_bytes(ct(index=9))[128:]
    yield "elf.dcm", b"\x7fELF" + bytes(124) + to_bytes(ct(index=8))[128:]
    yield "zero.dcm", to_bytes(ct(index=7, StudyInstanceUID="1.2.1111")).replace(b"1.2.1111", b"1.2\x0011 1")
    yield "empty.dcm", b""
    yield "half.dcm", to_bytes(ct(index=5))[:-100]


def slips() -> bytes:
    """Members that would be written elsewhere, a link, and one that is good."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, name in enumerate(SLIPS):
            member = zipfile.ZipInfo("placeholder")
            member.filename = name
            archive.writestr(member, film(30 + number))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.png", film(40))
    return stream.getvalue()


def forged_size() -> bytes:
    """A member that says it has ten bytes."""
    data = bytearray(zipped({"bomb.dcm": bytes(16 << 20)}))
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = data.index(mark) + at
        data[where : where + 4] = struct.pack("<L", 10)
    return bytes(data)


def jpeg2000() -> bytes:
    """64 x 64 in the header, 16384 x 16384 in a stream of some hundred bytes."""
    from openjpeg.utils import encode_array

    stream = bytearray(encode_array(np.zeros((64, 64), np.uint16)))
    at = stream.index(b"\xff\x4f\xff\x51") + 8
    stream[at : at + 8] = struct.pack(">LL", 16384, 16384)
    stream[at + 16 : at + 24] = struct.pack(">LL", 16384, 16384)
    dataset = ct(np.zeros((64, 64), np.int16), syntax=JPEG2000Lossless, StudyInstanceUID="1.2.5")
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    return to_bytes(dataset)


def nested(depth: int = 3000) -> bytes:
    """Sequences in sequences, of undefined length."""
    whole = to_bytes(ct(index=6, StudyInstanceUID="1.2.6"))
    at = whole.index(b"\x18\x00\x50\x00DS")  # Slice Thickness: what comes before it has been read
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return whole[:at] + opened * depth + closed * depth + whole[at:]


def quietly(make):
    """What ``make`` gives; pydicom warns of what is meant to be wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()
