"""What a writer gives back, and the way from a voxel to the number that a file stores for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope.errors import AttackError, UnsupportedError
from tamperscope.records import FloatArray, Volume

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """One series as its files hold it."""

    files: tuple[Path, ...]
    """In the order of the slices; one for a multi-frame object, a NIfTI file or a picture."""
    volume: Volume
    """What a reader will decode: the voxels rounded to what the files can store. The truth is computed from it."""
    saturated: int
    """Changed voxels that lay outside the range of the file's numbers and were written as its lowest or highest."""
    uids: Mapping[str, str]
    """``study_uid`` and ``series_uid`` as they stand in the files; empty for formats without."""


Region: TypeAlias = tuple[slice, slice, slice]


def covered(original: Volume, volume: Volume) -> Region:
    """The part of the source's grid that a volume covers: all of it, or what a crop left.

    Raises:
        UnsupportedError: the volume lies on another grid, or reaches beyond the source.
    """
    start = np.linalg.solve(original.affine, volume.affine[:, 3])[:3]
    first = np.rint(start).astype(int)
    inside = first.min() >= 0 and bool(np.all(first + volume.shape <= original.shape))
    same = np.allclose(original.affine[:3, :3], volume.affine[:3, :3], atol=1e-6)
    if not (inside and same and np.allclose(start, first, atol=1e-3)):
        raise UnsupportedError(
            f"{volume.shape} voxels of {volume.spacing_mm} mm do not lie on the grid of the source, "
            f"{original.shape} of {original.spacing_mm} mm",
            hint="leave out what resamples the grid",
        )
    k, j, i = (slice(int(a), int(a) + n) for a, n in zip(first, volume.shape, strict=True))
    return k, j, i


@dataclass(frozen=True, slots=True)
class Scale:
    """value = stored x slope + intercept (PS3.3 C.11.1.1.2; NIfTI-1 scl_slope), and what can be stored."""

    dtype: np.dtype[Any]
    low: float
    high: float
    slope: float = 1.0
    intercept: float = 0.0

    def stored(self, values: FloatArray, before: FloatArray, source: str) -> tuple[Array, FloatArray, int]:
        """Values (...,) as the file stores them, as they will be read, and how many were saturated.

        Args:
            values: to be written.
            before: what the source holds; voxels equal to it must come back bit for bit.
            source: the name of the source, for messages.

        Raises:
            AttackError: a value is no number.
            UnsupportedError: untouched voxels would not come back as they were.
        """
        if not np.isfinite(values).all():
            raise AttackError(f"{source}: the forgery holds values that are no numbers", hint="report this attack")
        exact = (values.astype(np.float64) - self.intercept) / self.slope
        rounded = np.rint(exact) if self.dtype.kind in "iu" else exact
        clipped = np.clip(rounded, self.low, self.high)
        stored = clipped.astype(self.dtype)
        read = self.read(stored)
        kept = values == before
        if not (np.array_equal(read[kept], before[kept]) and self._separates(before[kept])):
            raise UnsupportedError(
                f"{source}: slope {self.slope:g} and intercept {self.intercept:g} with numbers from {self.low:g} to "
                f"{self.high:g} do not give its own values back",
                hint="convert the series to float32 NIfTI and forge that",
            )
        return stored, read, int(np.count_nonzero(clipped[~kept] != rounded[~kept]))

    def _separates(self, values: FloatArray) -> bool:
        """Whether float32 tells neighbouring stored whole numbers apart, so that each came back as itself."""
        if self.dtype.kind == "f" or not values.size:
            return True
        return bool(np.spacing(np.abs(values).max()) <= abs(self.slope) / 2)

    def read(self, stored: Array) -> FloatArray:
        """Stored numbers as a reader rescales them, float32."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return stored.astype(np.float32)
        return (stored * self.slope + self.intercept).astype(np.float32)
