"""How strong is the trace of a forgery? A probe so simple that it needs no training of its own to be understood.

Nine numbers say how the texture of a place differs from that of the ring round it; a linear discriminant separates
forged places from their untouched twins, patients held out in turn. Near 0.5, the trace is invisible to such numbers
(which is no proof that it is invisible); near 1, any detector finds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from tamperscope.evaluate.metrics import auroc
from tamperscope.preprocess import high_pass
from tamperscope.records import FloatArray, Volume

BOX_MM = 24.0
"""Side of the place: inside the 32 mm that CT-GAN pastes."""
RING_MM = 64.0
SHRINKAGE = 0.1
"""Share of the diagonal in the covariance (Friedman, Regularized Discriminant Analysis, JASA 84, 1989)."""


def features(volume: Volume, place: tuple[int, int, int]) -> NDArray[np.float64]:
    """Texture at ``place`` (k, j, i) against the ring round it, in its slice: nine numbers, without unit.

    Of the high-pass residual: strength, strength after averaging 2 x 2, tail weight, correlation of neighbours along
    rows and along columns, share of Nyquist frequencies; of the picture: spread and level; and the difference to the
    next slice.
    """
    k, row, column = place
    inner, outer = (_window(volume, row, column, side) for side in (BOX_MM, RING_MM))
    plane = volume.voxels[k]
    after = volume.voxels[min(k + 1, volume.shape[0] - 1)]
    ring = np.ones(plane[outer].shape, dtype=bool)
    ring[tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))] = False
    residual = high_pass(plane)
    inside = _texture(residual[inner], plane[inner], after[inner], np.ones(plane[inner].shape, dtype=bool))
    outside = _texture(residual[outer], plane[outer], after[outer], ring)
    return inside - outside


def _window(volume: Volume, row: int, column: int, side_mm: float) -> tuple[slice, slice]:
    _, height, width = volume.shape
    half = [max(round(side_mm / 2 / mm), 2) for mm in volume.spacing_mm[1:]]
    return (
        slice(max(row - half[0], 0), min(row + half[0], height)),
        slice(max(column - half[1], 0), min(column + half[1], width)),
    )


def _texture(
    residual: FloatArray, plane: FloatArray, after: FloatArray, where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    kept = residual[where]
    quiet = np.abs(residual) < 3.0 * max(float(np.median(np.abs(kept))) * 1.4826, 0.5)
    flat = where & quiet
    values = residual[flat].astype(float)
    averaged = ndimage.uniform_filter(residual, 2)[flat]
    checker = np.abs(residual[1:, 1:] - residual[:-1, 1:] - residual[1:, :-1] + residual[:-1, :-1])[flat[1:, 1:]]
    strength = float(values.std()) + 0.1
    return np.array(
        [
            np.log(strength),
            np.log(float(averaged.std()) + 0.1),
            float(stats.kurtosis(kept)) if kept.std() > 0.0 else 0.0,
            _neighbours(residual, flat, 0),
            _neighbours(residual, flat, 1),
            np.log((float(checker.mean()) if checker.size else 0.0) / strength + 0.01),
            np.log(float(plane[where].std()) + 1.0),
            float(np.median(plane[where])) / 500.0,
            np.log(float(np.abs(after - plane)[flat].mean()) + 1.0),
        ]
    )


def _neighbours(residual: FloatArray, flat: NDArray[np.bool_], axis: int) -> float:
    """Correlation of neighbours along an axis, over pairs that are both flat; 0 where there are too few."""
    first, second = (np.take(residual, range(a, residual.shape[axis] - 1 + a), axis) for a in (0, 1))
    both = np.take(flat, range(residual.shape[axis] - 1), axis) & np.take(flat, range(1, residual.shape[axis]), axis)
    a, b = first[both].astype(float), second[both].astype(float)
    return float(np.corrcoef(a, b)[0, 1]) if a.size > 2 and a.std() > 0.0 and b.std() > 0.0 else 0.0


def strength(
    forged: Sequence[NDArray[np.float64]], twins: Sequence[NDArray[np.float64]], patients: Sequence[str]
) -> float:
    """AUROC of the linear discriminant on pairs of `features`, each patient scored by the others.

    ``forged``, ``twins`` and ``patients`` run side by side. NaN with fewer than two patients.
    """
    positive, negative = np.stack(forged), np.stack(twins)
    who = np.array(patients)
    above, below = np.full(len(who), np.nan), np.full(len(who), np.nan)
    for patient in np.unique(who):
        rest, own = who != patient, who == patient
        if rest.any():
            direction = _discriminant(positive[rest], negative[rest])
            above[own], below[own] = positive[own] @ direction, negative[own] @ direction
    return auroc(above, below) if np.isfinite(above).all() else float("nan")


def _discriminant(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher's direction, the covariance pulled towards its diagonal."""
    both = np.concatenate([positive - positive.mean(0), negative - negative.mean(0)])
    covariance = both.T @ both / max(len(both) - 2, 1)
    scale = np.diag(np.diag(covariance) + 1e-6)
    mixed = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * scale
    direction: NDArray[np.float64] = np.linalg.solve(
        mixed + 1e-6 * np.eye(len(mixed)), positive.mean(0) - negative.mean(0)
    )
    return direction
