"""Where slices were changed, as boxes around what the exact masks mark.

A box is left, top, right and bottom in shares of a slice's width and height, so it holds for its picture of any size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamperscope.datasets.cases import Case
from tamperscope.evaluate.outcomes import CHANGED_VOXELS
from tamperscope.records import FloatArray

REACH = 4
"""Pixels that a change is grown by before its parts are counted: what rounding left alone inside of a forgery does not
tear it apart."""
WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]], dtype=np.float32)
NONE = np.empty((0, 4), dtype=np.float32)


def of(case: Case) -> tuple[FloatArray, ...]:
    """The boxes of each slice.

    Without a mask a single picture without stated places is forged as a whole; nobody says what was changed in any
    other.
    """
    depth = case.volume.shape[0]
    if case.mask is not None:
        return tuple(around(plane) for plane in case.mask)
    return (WHOLE,) if depth == 1 and not case.places else (NONE,) * depth


def around(mask: NDArray[np.bool_]) -> FloatArray:
    """The boxes around the places of a mask (H, W), float32 (M, 4).

    A place of fewer than 16 changed pixels has none, unless there is no larger one: then one box holds all.
    """
    if not mask.any():
        return NONE
    near = ndimage.binary_dilation(mask, np.ones((3, 3), bool), iterations=REACH)
    places, _ = ndimage.label(near, np.ones((3, 3)))
    places[~mask] = 0
    large = [number for number in np.unique(places)[1:] if np.count_nonzero(places == number) >= CHANGED_VOXELS]
    found = [_box(places == number) for number in large] or [_box(mask)]
    height, width = mask.shape
    return np.asarray(np.array(found) / (width, height, width, height), dtype=np.float32)


def mirrored(boxes: FloatArray, across: bool, down: bool) -> FloatArray:
    """The boxes (M, 4) of a picture that is mirrored left to right, top to bottom, or both ways."""
    left, top, right, bottom = boxes.T
    if across:
        left, right = 1.0 - right, 1.0 - left
    if down:
        top, bottom = 1.0 - bottom, 1.0 - top
    return np.stack([left, top, right, bottom], axis=1)


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels; the last two lie behind the last pixel."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
