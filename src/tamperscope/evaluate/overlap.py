"""Does the heat map cover what was changed? Voxels, boxes and the one maximum; what was not changed has no overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate import inputs
from tamperscope.records import FloatArray, MaskArray

Box: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Lowest and highest voxel (k, j, i) of a box, both inside it."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """A score at the threshold that suits this very mask: an upper bound that nobody reaches in use."""

    f1: float
    threshold: float


def pixel_f1(heatmap: FloatArray, mask: MaskArray, threshold: float) -> float:
    """2TP / (2TP + FP + FN) over voxels, flagged from ``threshold`` on; the Dice coefficient (Dice, Ecology 26, 1945).

    Args:
        heatmap: float32 (D, H, W), higher is more suspicious.
        mask: bool (D, H, W), true where voxels were changed.
        threshold: on the scale of the map, fixed on other cases.

    Returns:
        0 to 1. NaN on an empty mask, where it would be 0 whatever the map does: `flagged_share` is for authentic
        volumes.

    Raises:
        UsageError: shapes that differ, or a threshold of NaN.
        InputError: a map that is not finite, or a mask that is not bool.
    """
    both, flagged, changed = _overlap(heatmap, mask, threshold)
    return 2 * both / (flagged + changed) if changed else float("nan")


def iou(heatmap: FloatArray, mask: MaskArray, threshold: float) -> float:
    """TP / (TP + FP + FN) over voxels, flagged from ``threshold`` on (Jaccard, New Phytologist 11, 1912).

    Arguments, NaN and errors as for `pixel_f1`, of which it is F1 / (2 - F1).
    """
    both, flagged, changed = _overlap(heatmap, mask, threshold)
    return both / (flagged + changed - both) if changed else float("nan")


def flagged_share(heatmap: FloatArray, threshold: float) -> float:
    """Share of the voxels of a heat map (D, H, W) that reach ``threshold``.

    The false alarms by area of an authentic volume. NaN without voxels.

    Raises:
        UsageError: another number of dimensions, or a threshold of NaN.
        InputError: a map that is not finite.
    """
    values, border = inputs.heat(heatmap), inputs.threshold(threshold)
    return float(np.count_nonzero(_reached(values, border)) / values.size) if values.size else float("nan")


def best_f1(heatmap: FloatArray, mask: MaskArray) -> Oracle:
    """The highest `pixel_f1` over all thresholds, and the highest threshold that gives it. Report it as an oracle.

    Args:
        heatmap: float32 (D, H, W), higher is more suspicious.
        mask: bool (D, H, W), true where voxels were changed.

    Returns:
        F1 and threshold, both NaN on an empty mask.

    Raises:
        UsageError: shapes that differ.
        InputError: a map that is not finite, or a mask that is not bool.
    """
    values, changed = inputs.heat_and_mask(heatmap, mask)
    if not changed.any():
        return Oracle(float("nan"), float("nan"))
    levels, hits, alarms = _tally(values, changed)
    f1 = 2 * hits / (hits + alarms + hits[-1])
    best = int(np.argmax(f1))
    return Oracle(float(f1[best]), float(levels[best]))


def voxel_ap(heatmap: FloatArray, mask: MaskArray) -> float:
    """Average precision of the ranking of voxels, `ranking.auprc` of changed against unchanged ones.

    A map that knows nothing gives the share of changed voxels, often below 0.001.

    Args:
        heatmap: float32 (D, H, W), higher is more suspicious.
        mask: bool (D, H, W), true where voxels were changed.

    Returns:
        0 to 1; NaN where nothing or everything was changed.

    Raises:
        UsageError: shapes that differ.
        InputError: a map that is not finite, or a mask that is not bool.
    """
    values, changed = inputs.heat_and_mask(heatmap, mask)
    if changed.all() or not changed.any():
        return float("nan")
    _, hits, alarms = _tally(values, changed)
    return float(np.sum(np.diff(hits, prepend=0) * hits / (hits + alarms)) / hits[-1])


def box_iou(first: Box, second: Box) -> float:
    """Voxels that two boxes share, of those in either: 0 apart, 1 for the same box.

    Each box is ([low], [high]) in voxels (k, j, i), low and high inside it.

    Raises:
        UsageError: a box that is not two times three numbers.
        InputError: voxels that are no integers, or a box whose high is below its low.
    """
    one, other = _corners(first), _corners(second)
    low, high = np.maximum(one[0], other[0]), np.minimum(one[1], other[1])
    shared, first_size, second_size = (
        float(np.prod(np.maximum(sides, 0), dtype=np.float64))
        for sides in (high - low + 1, one[1] - one[0] + 1, other[1] - other[0] + 1)
    )
    return shared / (first_size + second_size - shared)


def pointing_game(heatmap: FloatArray, mask: MaskArray) -> float:
    """Whether the maximum of the map lies inside the mask: 1 or 0, to be averaged over forged volumes.

    Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016. Where several voxels share the maximum
    it is their share inside the mask, so a flat map earns no more than the mask's size, wherever that lies.

    Args:
        heatmap: float32 (D, H, W), higher is more suspicious.
        mask: bool (D, H, W), true where voxels were changed.

    Returns:
        0 to 1; NaN on an empty mask.

    Raises:
        UsageError: shapes that differ.
        InputError: a map that is not finite, or a mask that is not bool.
    """
    values, changed = inputs.heat_and_mask(heatmap, mask)
    if not changed.any():
        return float("nan")
    highest = values == values.max()
    return float(np.count_nonzero(highest & changed) / np.count_nonzero(highest))


def _overlap(heatmap: FloatArray, mask: MaskArray, threshold: float) -> tuple[int, int, int]:
    """Voxels that are flagged and changed, that are flagged, that are changed."""
    values, changed = inputs.heat_and_mask(heatmap, mask)
    flagged = _reached(values, inputs.threshold(threshold))
    both = flagged & changed
    return int(np.count_nonzero(both)), int(np.count_nonzero(flagged)), int(np.count_nonzero(changed))


def _reached(values: FloatArray, threshold: float) -> MaskArray:
    """From the threshold on, as in the verdict, which rounds it to the precision of the map."""
    with np.errstate(over="ignore"):
        return values >= values.dtype.type(threshold)


def _tally(values: FloatArray, changed: MaskArray) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Different values of changed voxels (one at least), falling; how many changed and unchanged ones reach each.

    Among all thresholds of equal recall, precision and F1 are highest at such a value. Slice by slice, so that a long
    scan is never held twice.
    """
    levels, counts = np.unique(values[changed], return_counts=True)
    alarms = np.zeros(levels.size, dtype=np.intp)
    for plane, forged in zip(values, changed, strict=True):
        unchanged = np.sort(plane[~forged & (plane >= levels[0])])
        alarms += unchanged.size - np.searchsorted(unchanged, levels)
    return levels[::-1], np.cumsum(counts[::-1]), alarms[::-1]


def _corners(box: Box) -> NDArray[np.int64]:
    try:
        corners = np.asarray(box)
    except ValueError as error:
        raise UsageError("a box of uneven corners", hint="give ([k, j, i], [k, j, i])") from error
    if corners.shape != (2, 3):
        raise UsageError(f"a box of shape {corners.shape}", hint="give ([k, j, i], [k, j, i])")
    if not np.issubdtype(corners.dtype, np.integer):
        raise InputError(f"a box of {corners.dtype}", hint="give voxels as integers")
    if (corners[1] < corners[0]).any():
        raise InputError(f"a box from {corners[0]} to {corners[1]}", hint="give the lowest voxel first")
    return corners.astype(np.int64)
