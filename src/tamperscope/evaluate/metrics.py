"""Metrics, each with its definition. All take NumPy arrays and give plain floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tamperscope.records import FloatArray, MaskArray


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counted half. NaN where one side is empty.

    Hanley and McNeil, Radiology 143, 1982.
    """
    above, below = np.asarray(positives, float).ravel(), np.asarray(negatives, float).ravel()
    if above.size == 0 or below.size == 0:
        return float("nan")
    ranks = stats.rankdata(np.concatenate([above, below]))
    wins = ranks[: above.size].sum() - above.size * (above.size + 1) / 2
    return float(wins / (above.size * below.size))


def pointing_hit(
    heatmap: FloatArray,
    body: MaskArray,
    centre: tuple[float, float],
    spacing_mm: tuple[float, float],
    radius_mm: float,
) -> bool:
    """Whether the heat map (H, W) has its maximum inside the body within ``radius_mm`` of ``centre`` (row, column).

    The pointing game of Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016. False without
    body.
    """
    if not body.any():
        return False
    row, column = np.unravel_index(int(np.argmax(np.where(body, heatmap, -np.inf))), heatmap.shape)
    down, right = (row - centre[0]) * spacing_mm[0], (column - centre[1]) * spacing_mm[1]
    return bool(np.hypot(down, right) <= radius_mm)


def region_auroc(
    heatmap: FloatArray,
    body: MaskArray,
    centre: tuple[int, int],
    spacing_mm: tuple[float, float],
    rng: np.random.Generator,
    *,
    box_mm: float = 32.0,
    count: int = 40,
) -> float:
    """AUROC of the mean of the heat map (H, W) in a box at ``centre`` against ``count`` other boxes in the body.

    The other boxes have their centre in the body, at random, and do not overlap the first. NaN where the body
    offers no such place.
    """
    half = [max(1, round(box_mm / 2 / spacing)) for spacing in spacing_mm]
    rows, columns = np.nonzero(body)
    apart = (np.abs(rows - centre[0]) >= 2 * half[0]) | (np.abs(columns - centre[1]) >= 2 * half[1])
    rows, columns = rows[apart], columns[apart]
    if rows.size == 0:
        return float("nan")
    chosen = rng.choice(rows.size, size=count, replace=rows.size < count)

    def mean_at(row: int, column: int) -> float:
        top, left = max(row - half[0], 0), max(column - half[1], 0)
        return float(heatmap[top : row + half[0], left : column + half[1]].mean())

    elsewhere = [mean_at(int(rows[n]), int(columns[n])) for n in chosen]
    return auroc([mean_at(*centre)], elsewhere)


def wilson_interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 22, 1927); (0, 1) for no trials."""
    if count == 0:
        return 0.0, 1.0
    share, spread = hits / count, z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * float(np.sqrt(share * (1 - share) / count + spread / (4 * count)))
    return max(middle - half, 0.0), min(middle + half, 1.0)
