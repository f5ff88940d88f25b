"""Slices at native size, as the systems see them that look at untouched pixels, and their answers back on that size.

Nothing is resampled; what is too large for a network is cut into patches. What such a system says, it says on the grid
of every fourth pixel (`anatomy.STEP`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tamperscope import anatomy
from tamperscope.detectors import places
from tamperscope.evaluate.systems.system import Answer
from tamperscope.inputs.ct import count_places
from tamperscope.pictures import PERCENTILES
from tamperscope.records import FloatArray, MaskArray, Volume

LEAST_LUNG = 0.05
"""Share of the body from which there is a lung to look at."""
LEAST_SHARE = 0.5
"""Share of a patch that must be looked at, unless told."""
Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the patches of a slice lie."""

    patch: int
    """Pixels a side."""
    stride: int
    """Pixels between two of them, a multiple of `anatomy.STEP`, as their sides are."""

    def size(self, length: int) -> int:
        """What rows or columns are filled up to, so that the patches reach all of them."""
        return self.patch + max(0, -(-(length - self.patch) // self.stride)) * self.stride

    def corners(self, judged: MaskArray, shape: tuple[int, ...], least: float = LEAST_SHARE) -> list[Corner]:
        """First row and column of the patches of which this share is ``judged`` at least; of all where none is."""
        every = [range(0, self.size(length) - self.patch + 1, self.stride) for length in shape]
        found = [(row, column) for row in every[0] for column in every[1]]
        return [one for one in found if self.share(judged, one) >= least] or found

    def share(self, judged: MaskArray, corner: Corner) -> float:
        """Share of a patch that is true in ``judged``, which has a value for every 4 x 4 pixels."""
        return float(judged[self.cells(corner)].sum()) * anatomy.STEP**2 / self.patch**2

    def cells(self, corner: Corner) -> tuple[slice, slice]:
        """The patch on that grid."""
        down, across = (at // anatomy.STEP for at in corner)
        side = self.patch // anatomy.STEP
        return slice(down, down + side), slice(across, across + side)

    def cut(self, plane: FloatArray, corners: Iterable[Corner]) -> FloatArray:
        """The patches of a slice (H, W) as float32 (P, 1, patch, patch); its border is repeated where it ends."""
        down, across = (self.size(length) for length in plane.shape)
        whole, side = padded(plane, down, across), self.patch
        return np.stack([whole[None, row : row + side, column : column + side] for row, column in corners])


def unit(plane: FloatArray, modality: str, window_hu: tuple[float, float]) -> FloatArray:
    """A slice (H, W) as float32 (H, W) of 0 to 1.

    CT between the two values, anything else between its own percentiles 0.5 and 99.5; a slice of one value is 0.
    """
    low, high = window_hu if modality == "CT" else np.percentile(plane, PERCENTILES)
    if not high > low:
        return np.zeros(plane.shape, dtype=np.float32)
    return np.asarray((np.clip(plane, low, high) - low) / (high - low), dtype=np.float32)


def inside(plane: FloatArray, modality: str) -> MaskArray:
    """Where in a slice (H, W) the patient is, as (ceil(H / 4), ceil(W / 4)); everywhere where nobody is found."""
    found = _coarse((anatomy.body if modality == "CT" else anatomy.tissue)(plane[None]))
    return found if found.any() else np.ones_like(found)


def lungs(plane: FloatArray, modality: str) -> MaskArray:
    """The same for the lungs of a CT; where there are none, the patient."""
    body = inside(plane, modality)
    if modality != "CT":
        return body
    found = _coarse(anatomy.lungs(plane[None]))
    return found if found.sum() >= LEAST_LUNG * body.sum() and found.any() else body


def padded(plane: FloatArray, down: int, across: int) -> FloatArray:
    """A slice (H, W) as (down, across): cut, or its last row and column repeated."""
    held = plane[:down, :across]
    missing = ((0, down - held.shape[0]), (0, across - held.shape[1]))
    return np.pad(held, missing, mode="edge") if any(any(one) for one in missing) else held


def answer(coarse: FloatArray, judged: MaskArray, volume: Volume, score: float | None = None) -> Answer:
    """The answer of coarse maps (D, ceil(H / 4), ceil(W / 4)) that hold where ``judged`` is true, somewhere at least.

    The score of a slice is its highest value there, that of the volume the highest of all unless ``score`` is given.
    The heat map is enlarged as those of the detectors are: peaks keep their value, and the rest is `places.FLOOR`.
    """
    found = places.evidence("map", coarse, judged, volume, count_places(judged, volume))
    return Answer(found.slice_scores, found.heatmap, score)


def _coarse(mask: MaskArray) -> MaskArray:
    return mask[0, :: anatomy.STEP, :: anatomy.STEP]
