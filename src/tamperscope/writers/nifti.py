"""A volume as NIfTI again: header, extensions, type and scaling of its source, other voxels, and the mark.

Bytes of untouched voxels are those of the source. A forgery says what it is in the field descrip and in an extension
(ecode 6, comment; https://nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tamperscope.formats.nifti import GZIP_MAGIC
from tamperscope.limits import inflate
from tamperscope.records import FloatArray, Series, Volume, voxel_digest
from tamperscope.study import DEFAULT_LIMITS, Limits, payload

from .mark import Mark, check, prefix
from .written import Array, Region, Scale, Written, covered

COMMENT = 6
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
"""By the size of the header."""


def write(
    series: Series,
    original: Volume,
    volume: Volume,
    folder: Path,
    name: str,
    mark: Mark | None,
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> Written:
    """Write ``NAME.nii``, or ``NAME.nii.gz`` where the source was gzipped, into ``folder``.

    Args:
        series: what was read.
        original: its voxels (D, H, W) as `decode` gives them.
        volume: the voxels to write, on the same grid or a part of it.
        folder: made if it is missing.
        name: stem of the file, without the prefix that says whether it is forged.
        mark: the mark of a forgery; None for a pristine twin.
        limits: what a file of the source may ask for.

    Raises:
        UsageError: there is no mark for what differs from the source.
        UnsupportedError: another grid.
        InputError: the source cannot be read again.
    """
    check(mark, original, volume)
    instance = series.instances[0]
    data = payload(instance, limits)
    packed = data.startswith(GZIP_MAGIC)
    if packed:
        data = inflate(data, instance.source, limits, wbits=31)
    header = _header(data)
    region = covered(original, volume)
    held = _held(data, header, original.shape)[region]
    stored, voxels, saturated = _stored(held, header, volume.voxels, original.voxels[region], instance.source)
    _move(header, region)
    content = _content(header, _extensions(data, header), stored, mark)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix(mark)}{name}{'.nii.gz' if packed else '.nii'}"
    path.write_bytes(gzip.compress(content, 4, mtime=0) if packed else content)
    return Written((path,), replace(volume, voxels=voxels, digest=voxel_digest(voxels)), saturated, {})


def _header(data: bytes) -> Any:
    kind: Any = HEADERS[540 if data[4:8] == b"n+2\0" else 348]
    return kind(data[: kind.sizeof_hdr], check=False)


def _held(data: bytes, header: Any, shape: tuple[int, int, int]) -> Array:
    """(z, y, x) as the source's file holds it."""
    return np.frombuffer(data, header.get_data_dtype(), math.prod(shape), int(header.get_data_offset())).reshape(shape)


def _move(header: Any, region: Region) -> None:
    """Size and place of what a crop left: the offsets of sform and qform (NIfTI-1, methods 2 and 3)."""
    sides = list(header.get_data_shape())
    first = [part.start for part in region[::-1]]
    if first == [0, 0, 0] and [part.stop for part in region[::-1]][: len(sides)] == sides[:3]:
        return
    for form, code in ((header.get_sform(), "sform_code"), (header.get_qform(), "qform_code")):
        if int(header[code]) > 0:
            form[:3, 3] = (form @ [*first, 1.0])[:3]
            (header.set_sform if code == "sform_code" else header.set_qform)(form, int(header[code]))
    sides[:3] = [part.stop - part.start for part in region[::-1]][: len(sides)]
    header.set_data_shape(sides)


def _stored(
    held: Array, header: Any, values: FloatArray, before: FloatArray, source: str
) -> tuple[Array, FloatArray, int]:
    """(z, y, x) as the file will hold it, as it will be read, and how many voxels were saturated."""
    dtype = header.get_data_dtype()
    bounds = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0.0:
        slope, intercept = 1.0, 0.0
    scale = Scale(dtype, float(bounds.min), float(bounds.max), slope, intercept if np.isfinite(intercept) else 0.0)
    changed = values != before
    # Only changed voxels are computed: a float does not come back from its scale, and NaN was read as a number.
    fresh, read, saturated = scale.stored(values[changed], np.full(int(changed.sum()), np.nan, np.float32), source)
    stored, voxels = held.copy(), before.copy()
    stored[changed], voxels[changed] = fresh, read
    return stored, voxels, saturated


def _extensions(data: bytes, header: Any) -> bytes:
    """Header extensions as they stand between the header and the voxels, without the four bytes that announce them."""
    size, offset = int(header.sizeof_hdr), int(header.get_data_offset())
    return data[size + 4 : offset] if data[size : size + 1] == b"\1" else b""


def _content(header: Any, extensions: bytes, stored: Array, mark: Mark | None) -> bytes:
    if mark is not None:
        header["descrip"] = mark.short.encode("ascii")
        text = mark.text.encode("ascii")
        size = -(-(8 + len(text)) // 16) * 16  # a multiple of 16, with its own length and code
        order = ">" if header.endianness == ">" else "<"
        extensions += np.array([size, COMMENT], f"{order}i4").tobytes() + text.ljust(size - 8, b"\0")
    start = int(header.sizeof_hdr) + 4 + len(extensions)
    header["vox_offset"] = -(-start // 16) * 16
    announced = bytes([bool(extensions), 0, 0, 0])
    head: bytes = header.binaryblock + announced + extensions
    return head.ljust(int(header["vox_offset"]), b"\0") + stored.tobytes()
