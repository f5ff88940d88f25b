"""Free-response ROC: how many forged places are marked, at how many false marks per scan.

Bunch et al., A free-response approach to the measurement and characterization of radiographic-observer performance,
Journal of Applied Photographic Engineering 4, 1978. A "lesion" is a forged place, inserted or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate import inputs
from tamperscope.evaluate.ranking import tally

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False marks per scan (Setio et al., LUNA16, Medical Image Analysis 42, 2017)."""
REACH_MM = 16.0
"""Half the side of the cube that CT-GAN pastes: a mark inside it is a hit however few voxels changed."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that was marked: its score, and the index of the lesion that it hits, None for a false mark."""

    score: float
    lesion: int | None = None

    def __post_init__(self) -> None:
        inputs.scores("scores of marks", [self.score])


@dataclass(frozen=True, slots=True)
class Scan:
    """The marks on one scan, and how many lesions it has: 0 if it is authentic."""

    marks: tuple[Mark, ...]
    lesions: int

    def __post_init__(self) -> None:
        inputs.at_least("the number of lesions", self.lesions, 0)
        for mark in self.marks:
            if mark.lesion is not None and not 0 <= mark.lesion < self.lesions:
                raise UsageError(
                    f"a mark on lesion {mark.lesion} of a scan with {self.lesions}", hint="count lesions from 0"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Froc:
    """The FROC curve, from no mark to all of them; float64 (T + 1) each for T different scores."""

    thresholds: NDArray[np.float64]
    """Falling; a mark counts where its score is at least this. The first is infinite and keeps none."""
    false_marks: NDArray[np.float64]
    """False marks per scan, rising. NaN without scans."""
    sensitivities: NDArray[np.float64]
    """Share of all lesions that are hit, rising. NaN without lesions."""


def lesions_hit(marks_mm: ArrayLike, centres_mm: ArrayLike, radii_mm: ArrayLike) -> tuple[int | None, ...]:
    """For each mark the index of the lesion that it hits: centres within max(16 mm, radius) of each other.

    Where a mark reaches several lesions, it hits the one whose centre is nearest.

    Args:
        marks_mm: centres of the marks (N, 3) in millimetres, in one frame with the lesions.
        centres_mm: centres of the lesions (M, 3) in millimetres.
        radii_mm: radii of their masks (M) in millimetres.

    Raises:
        UsageError: shapes that do not fit.
        InputError: numbers that are not finite, or a radius below 0.
    """
    marks, centres = _points("marks", marks_mm), _points("centres", centres_mm)
    radii = inputs.scores("radii", radii_mm)
    if radii.size != len(centres):
        raise UsageError(f"{radii.size} radii for {len(centres)} centres", hint="give one for each lesion")
    if (radii < 0.0).any():
        raise InputError(f"a radius of {radii.min():g} mm", hint="give millimetres, 0 or more")
    if radii.size == 0:
        return (None,) * len(marks)
    distances = np.linalg.norm(marks[:, None] - centres[None], axis=2)
    reached = np.where(distances <= np.maximum(radii, REACH_MM), distances, np.inf)
    nearest = reached.argmin(axis=1)
    return tuple(int(n) if np.isfinite(row[n]) else None for row, n in zip(reached, nearest, strict=True))


def froc(scans: Sequence[Scan]) -> Froc:
    """The FROC curve of scans, authentic ones too: they have no lesions, but their marks are false ones.

    Of several marks on one lesion the highest counts and the others are passed over, neither hits nor false, as in
    LUNA16 (Setio et al. 2017).
    """
    false = [mark.score for scan in scans for mark in scan.marks if mark.lesion is None]
    thresholds, hits, kept = tally(_found(scans), false)
    return Froc(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0], kept]) / (len(scans) or np.nan),
        np.concatenate([[0], hits]) / (sum(scan.lesions for scan in scans) or np.nan),
    )


def sensitivities_at(curve: Froc, rates: Sequence[float] = RATES) -> tuple[float, ...]:
    """Sensitivity reached with at most each number of false marks per scan.

    Nothing is read between the points of the curve, which errs on the low side, and beyond its last point it goes on
    level. NaN without scans or lesions.

    Raises:
        UsageError: a rate that is below 0 or NaN.
    """
    for rate in rates:
        if not rate >= 0.0:
            raise UsageError(f"{rate} false marks per scan", hint="give 0 or more")
    if np.isnan(curve.false_marks[0]):
        return (float("nan"),) * len(rates)
    return tuple(float(curve.sensitivities[np.searchsorted(curve.false_marks, r, side="right") - 1]) for r in rates)


def mean_sensitivity(curve: Froc) -> float:
    """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false marks per scan; NaN without scans or lesions.

    The competition performance metric of Niemeijer et al., On combining computer-aided detection systems, IEEE TMI 30,
    2011.
    """
    return float(np.mean(sensitivities_at(curve)))


def average_precision(scans: Sequence[Scan]) -> float:
    """Precision at each different score, weighted by what recall of lesions gains there; unmarked lesions gain nothing.

    Precision is hits among hits and false marks, as object detection has it (Everingham et al., The Pascal visual
    object classes challenge, IJCV 88, 2010), as a step function: nothing is read between the points. NaN without
    lesions.
    """
    false = [mark.score for scan in scans for mark in scan.marks if mark.lesion is None]
    _, hits, kept = tally(_found(scans), false)
    lesions = sum(scan.lesions for scan in scans)
    return float(np.sum(np.diff(hits, prepend=0) * hits / (hits + kept)) / (lesions or np.nan))


def _found(scans: Sequence[Scan]) -> list[float]:
    """The highest score on each lesion that was hit."""
    best: dict[tuple[int, int], float] = {}
    for n, scan in enumerate(scans):
        for mark in scan.marks:
            if mark.lesion is not None:
                best[n, mark.lesion] = max(mark.score, best.get((n, mark.lesion), -np.inf))
    return list(best.values())


def _points(what: str, values: ArrayLike) -> NDArray[np.float64]:
    given = inputs.numbers(what, values)
    if given.size == 0:
        return np.empty((0, 3))
    points = inputs.scores(what, given, dimensions=2)
    if points.shape[1] != 3:
        raise UsageError(f"{what} of shape {points.shape}", hint="give three millimetres for each")
    return points
