"""How much of an input is believed: the limits, and the bounded readers that enforce them.

Everything that can grow on its way into memory (a file, a deflated data set, a gzip, a member of a zip) comes
through here; real bytes are counted, declared sizes are not trusted.
"""

from __future__ import annotations

import math
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tamperscope.errors import LimitError, UnreadableError, UnsafePathError, UnsupportedError

MIB = 2**20
RATIO_FLOOR = MIB
"""Below this size no ratio is judged: a blank slice inflates a thousandfold and does no harm."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one input may ask for. More raises `LimitError` with the value and the field's name."""

    max_pixels: int = 2**29
    """Samples (frames x rows x columns x channels) of one series: 2 GiB as float32, 2048 slices of 512 x 512."""
    max_file_bytes: int = 2 * 2**30
    max_inflated_bytes: int = 512 * MIB
    """Of one deflated DICOM object, gzip file or member of a zip."""
    max_ratio: int = 100
    """Inflated to packed bytes, judged beyond the first MiB."""
    max_entries: int = 20_000
    """Members of one zip."""


DEFAULT_LIMITS = Limits()


def read_file(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file, read once and never more than ``max_file_bytes``.

    Raises:
        UnreadableError: not a regular file, or the system refuses it.
        LimitError: larger than ``max_file_bytes``.
    """
    try:
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError(f"{path}: not a regular file", hint="give a file, folder or zip")
        with path.open("rb") as stream:
            data = stream.read(limits.max_file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnreadableError(
            f"{path}: cannot be opened: {reason}", hint="check the name and the permissions"
        ) from error
    check_file_size(str(path), len(data), limits)
    return data


def read_head(path: Path, size: int) -> bytes:
    """The first ``size`` bytes of a regular file; none of what cannot be opened, which `read_file` then reports."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as stream:
            return stream.read(size)
    except (OSError, ValueError):
        return b""


def check_file_size(source: str, size: int, limits: Limits) -> None:
    """Raise `LimitError` for more than ``max_file_bytes`` bytes."""
    if size > limits.max_file_bytes:
        raise LimitError(
            f"{source}: larger than {limits.max_file_bytes} bytes",
            hint="raise Limits.max_file_bytes if you trust it",
        )


def check_size(source: str, shape: tuple[int, ...], limits: Limits) -> None:
    """Raise `LimitError` where ``shape`` holds more than ``max_pixels`` samples."""
    if math.prod(shape) > limits.max_pixels:
        declared = " x ".join(str(side) for side in shape)
        raise LimitError(
            f"{source}: {declared} samples are declared, {limits.max_pixels} are allowed",
            hint="raise --max-pixels (Limits.max_pixels in Python) if you trust it",
        )


def inflate(packed: bytes, source: str, limits: Limits, *, wbits: int) -> bytes:
    """Inflate raw deflate (``wbits`` -15, PS3.5 A.5) or gzip (31, RFC 1952; several members are concatenated).

    Raises:
        UnreadableError: damaged or cut short.
        LimitError: beyond ``max_inflated_bytes`` or ``max_ratio``.
    """
    pieces: list[bytes] = []
    total = 0
    for piece in _inflated(packed, source, wbits):
        total += len(piece)
        check_ratio(source, total, len(packed), limits)
        pieces.append(piece)
    return b"".join(pieces)


def inflate_head(packed: bytes, size: int) -> bytes:
    """The first ``size`` bytes at most of a gzip; what cannot be inflated is left out."""
    try:
        return zlib.decompressobj(31).decompress(packed[: 64 * 1024], size)
    except zlib.error:
        return b""


def _inflated(packed: bytes, source: str, wbits: int) -> Iterator[bytes]:
    rest = packed
    # Zero bytes may follow the stream: PS3.5 A.5 pads to an even length, and gzip files on tape are padded.
    while rest.strip(b"\0"):
        engine = zlib.decompressobj(wbits)
        try:
            while not engine.eof:
                piece = engine.decompress(rest, MIB)
                rest = engine.unconsumed_tail
                if not piece and not rest and not engine.eof:
                    raise UnreadableError(f"{source}: deflated data is cut short", hint="fetch the file again")
                yield piece
        except zlib.error as error:
            raise UnreadableError(f"{source}: deflated data is damaged", hint="fetch the file again") from error
        rest = engine.unused_data if wbits == 31 else b""


def check_ratio(source: str, inflated: int, packed: int, limits: Limits) -> None:
    """Raise `LimitError` where inflated bytes exceed the size or the ratio that is allowed."""
    if inflated > limits.max_inflated_bytes:
        raise LimitError(
            f"{source}: inflates to more than {limits.max_inflated_bytes} bytes",
            hint="unpack it yourself, or raise Limits.max_inflated_bytes if you trust it",
        )
    if inflated > RATIO_FLOOR and inflated > limits.max_ratio * packed:
        raise LimitError(
            f"{source}: {packed} bytes inflate to more than {limits.max_ratio} times as many",
            hint="unpack it yourself, or raise Limits.max_ratio if you trust it",
        )


def open_zip(file: Path | IO[bytes], source: str, limits: Limits) -> zipfile.ZipFile:
    """Open a zip without reading its members. A path is opened by the archive and closed with it.

    Raises:
        UnreadableError: damaged directory, or the system refuses the file.
        LimitError: more than ``max_entries`` members.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableError(f"{source}: damaged zip archive", hint="pack it again") from error
    if len(archive.infolist()) > limits.max_entries:
        archive.close()
        raise LimitError(
            f"{source}: {len(archive.infolist())} members, {limits.max_entries} are allowed",
            hint="split the archive, or raise Limits.max_entries if you trust it",
        )
    return archive


def check_member(info: zipfile.ZipInfo, source: str) -> None:
    """Refuse a member whose name leaves the archive, and links.

    Raises:
        UnsafePathError: absolute, drive or parent names, NUL bytes, symbolic links.
    """
    # zipfile cuts ``filename`` at a NUL byte; the stored name is what another tool would see.
    if is_unsafe_name(info.orig_filename) or stat.S_ISLNK(info.external_attr >> 16):
        raise UnsafePathError(
            f"{source}: the member's name leaves the archive or is a link", hint="pack it again with relative names"
        )


def posix(name: str) -> str:
    """A member's name with slashes: some Windows programs write backslashes."""
    return name.replace("\\", "/")


def is_unsafe_name(name: str) -> bool:
    """Whether a relative name leaves its folder: absolute, drive letter, ``..`` or NUL."""
    parts = posix(name).split("/")
    return ".." in parts or name[:1] in ("/", "\\") or "\0" in name or re.match(r"[A-Za-z]:", name) is not None


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str, limits: Limits) -> bytes:
    """Inflate one member, counting the real bytes.

    Raises:
        UnsafePathError: see `check_member`.
        UnsupportedError: encrypted, or packed by another method than deflate.
        UnreadableError: damaged.
        LimitError: beyond ``max_inflated_bytes`` or ``max_ratio``.
    """
    check_member(info, source)
    if info.flag_bits & 1:
        raise UnsupportedError(f"{source}: encrypted", hint="unpack it with its password and scan the folder")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsupportedError(f"{source}: packed by zip method {info.compress_type}", hint="pack it with deflate")
    pieces: list[bytes] = []
    total = 0
    try:
        with archive.open(info) as stream:
            while piece := stream.read(MIB):
                total += len(piece)
                check_ratio(source, total, info.compress_size, limits)
                pieces.append(piece)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise UnreadableError(f"{source}: damaged in the archive", hint="pack it again") from error
    return b"".join(pieces)
