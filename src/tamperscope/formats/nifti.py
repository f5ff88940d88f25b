"""NIfTI-1 and NIfTI-2 single files, plain or gzipped: the header, and voxels on their own grid.

The file's axes (x, y, z) are transposed to (k, j, i) = (z, y, x) and its RAS affine becomes LPS; nothing is
reoriented or resampled (https://nifti.nimh.nih.gov/nifti-1, "method 2" and "method 3").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UnsupportedError
from tamperscope.limits import Limits, check_size, inflate, inflate_head
from tamperscope.records import JSON, FloatArray, Geometry

GZIP_MAGIC = b"\x1f\x8b"
HEAD = 540
"""Bytes of the longer header, NIfTI-2."""
MINIMAL_OFFSET = 348
DESCRIPTION = slice(148, 228)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels float32 (D, H, W) with the file's scaling applied; affine (k, j, i) to LPS millimetres."""

    voxels: FloatArray
    affine: NDArray[np.float64]
    geometry: Geometry
    bits: int
    findings: tuple[str, ...]


def is_nifti(data: bytes) -> bool:
    """Whether bytes are a NIfTI file, plain or gzipped."""
    head = inflate_head(data, HEAD) if data.startswith(GZIP_MAGIC) else data[:HEAD]
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def is_own(data: bytes) -> bool:
    """Whether the description (NIfTI-1 field descrip) says that this is a heat map of tamperscope."""
    head = inflate_head(data, DESCRIPTION.stop) if data.startswith(GZIP_MAGIC) else data[: DESCRIPTION.stop]
    return head[DESCRIPTION].startswith(b"tamperscope")


def peek(data: bytes, source: str, limits: Limits) -> tuple[int, dict[str, JSON]]:
    """Number of slices, and what the header says.

    Raises:
        UnreadableError: damaged.
        UnsupportedError: not three-dimensional, or values that are not real numbers.
        LimitError: more voxels than ``max_pixels``.
    """
    with _mapped(source):
        header = _header(inflate_head(data, HEAD) if data.startswith(GZIP_MAGIC) else data, source)
        columns, rows, slices = _shape(header, source, limits)
        bits = int(header.get_data_dtype().itemsize) * 8
    return slices, {"container": "NIfTI", "rows": rows, "columns": columns, "bits_stored": bits}


def load(data: bytes, source: str, limits: Limits) -> Grid:
    """Decode a NIfTI file.

    Raises:
        UnreadableError: damaged or cut short.
        UnsupportedError: not three-dimensional, or values that are not real numbers.
        LimitError: beyond the limits.
    """
    with _mapped(source):
        if data.startswith(GZIP_MAGIC):
            data = inflate(data, source, limits, wbits=31)
        header = _header(data, source)
        voxels = _scaled(_stored(data, header, source, limits), header)
        affine, geometry, findings = _affine(header)
        return Grid(voxels, affine, geometry, int(header.get_data_dtype().itemsize) * 8, findings)


def _stored(data: bytes, header: Any, source: str, limits: Limits) -> NDArray[np.generic]:
    """(z, y, x) view of the voxels in the file, whose x runs fastest."""
    shape = _shape(header, source, limits)
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    expected, got = math.prod(shape) * dtype.itemsize, len(data) - offset
    if offset < MINIMAL_OFFSET or got < expected:
        raise UnreadableError(
            f"{source}: voxels are cut short: {expected} bytes expected, {max(got, 0)} are there",
            hint="fetch the file again",
        )
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape[::-1])


def _scaled(stored: NDArray[np.generic], header: Any) -> FloatArray:
    slope, intercept = _scaling(header)
    voxels = np.empty(stored.shape, dtype=np.float32)
    for index, plane in enumerate(stored):
        voxels[index] = plane if (slope, intercept) == (1.0, 0.0) else plane * slope + intercept
    return voxels


@contextmanager
def _mapped(source: str) -> Iterator[None]:
    """The many exceptions that nibabel and numpy raise on damage become ours."""
    try:
        yield
    except TamperscopeError:
        raise
    except MemoryError as error:
        raise LimitError(f"{source}: needs more memory than there is", hint="cut it into parts") from error
    except Exception as error:
        raise UnreadableError(
            f"{source}: damaged NIfTI file ({type(error).__name__})", hint="fetch the file again"
        ) from error


def _header(data: bytes, source: str) -> Any:
    if data[344:348] == b"ni1\0" or data[4:8] == b"ni2\0":
        raise UnsupportedError(f"{source}: a NIfTI pair (.hdr and .img)", hint="convert it to one .nii file")
    # nibabel is not fully typed: its headers are Any here.
    kind: Any = nib.Nifti2Header if data[4:8] == b"n+2\0" else nib.Nifti1Header
    return kind(data[: kind.sizeof_hdr], check=False)  # extensions may lie beyond the head that was inflated


def _shape(header: Any, source: str, limits: Limits) -> tuple[int, int, int]:
    """(x, y, z); a plane is one slice, and trailing axes of length 1 are dropped."""
    sides = [int(side) for side in header.get_data_shape()]
    dtype = header.get_data_dtype()
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if len(sides) not in (2, 3):
        raise UnsupportedError(f"{source}: {len(sides)} axes, 3 are read", hint="split it into one file a volume")
    if min(sides) < 1:
        raise UnreadableError(f"{source}: impossible size {sides}", hint="fetch the file again")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnsupportedError(f"{source}: values of type {dtype} are not read", hint="convert to float32")
    x, y, z = (*sides, 1)[:3]
    check_size(source, (z, y, x), limits)
    return x, y, z


def _scaling(header: Any) -> tuple[float, float]:
    """scl_slope and scl_inter; a slope of zero means unscaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0.0:
        return 1.0, 0.0
    return slope, intercept if math.isfinite(intercept) else 0.0


def _affine(header: Any) -> tuple[NDArray[np.float64], Geometry, tuple[str, ...]]:
    try:
        ras = np.asarray(header.get_best_affine(), dtype=np.float64)
    except Exception:
        # A damaged quaternion: nibabel's HeaderDataError, or ValueError.
        ras = np.full((4, 4), np.nan)
    if not np.isfinite(ras).all() or abs(np.linalg.det(ras[:3, :3])) < 1e-12:
        return np.eye(4), "none", ("the NIfTI affine is not usable; sizes are in voxels",)
    lps = (RAS_TO_LPS @ ras)[:, [2, 1, 0, 3]]
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        return lps, "patient", ()
    return lps, "spacing", ("the NIfTI header states no position in the patient",)
