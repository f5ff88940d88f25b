"""The policy: from the evidence on a series to one of three answers, with the places and the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tamperscope.calibrate import Curve
from tamperscope.errors import UsageError
from tamperscope.records import Evidence, FloatArray, MaskArray, OperatingPoint, Region, Verdict, Volume

MAX_REGIONS = 20
"""Regions that are listed, strongest first; a series with more is suspicious as a whole."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Where the two borders between the three answers lie, as false alarms per authentic series."""

    suspicious_at: float = 0.01
    clear_at: float = 0.10
    """A series less striking than the top tenth of authentic ones shows no evidence; between the two none can tell."""
    growth: float = 0.5
    """A region reaches out to the places of this share of the threshold that touch it."""

    def __post_init__(self) -> None:
        if not 0.0 < self.suspicious_at <= self.clear_at < 1.0:
            raise UsageError(
                f"suspicious at {self.suspicious_at} and clear at {self.clear_at} false alarms per series",
                hint="both lie between 0 and 1, the first is not above the second",
            )

    @classmethod
    def at(cls, false_alarms: float) -> Policy:
        """Suspicious at ``false_alarms`` per authentic series; clear at ten times that, within a tenth and a half."""
        return cls(false_alarms, min(max(10.0 * false_alarms, 0.1), 0.5))


def decide(volume: Volume, evidence: Sequence[Evidence], deciding: Curve | None, policy: Policy) -> Verdict:
    """Judge a series on calibrated ``evidence``; its first member decides, the others are reported beside it.

    Args:
        volume: The series.
        evidence: Calibrated, the deciding detector first.
        deciding: The calibration of the first member; None if there is no detector at all.
        policy: The borders.
    """
    if deciding is None or not evidence:
        return Verdict("inconclusive", None, None, reasons=("no model is installed",))
    first = evidence[0]
    if first.probability is None:
        return Verdict("inconclusive", None, None, reasons=first.reasons)
    beside = (*first.cautions, *first.reasons)
    point = deciding.operating_point(policy.suspicious_at)
    clear = deciding.operating_point(policy.clear_at)
    if first.probability >= point.threshold:
        found = regions(volume, first.heatmap, point.threshold, policy.growth)
        return Verdict("suspicious", first.probability, point, found, (_suspicion(found, point), *beside))
    if first.probability >= clear.threshold:
        found = regions(volume, first.heatmap, clear.threshold, policy.growth)
        return Verdict("inconclusive", first.probability, point, found, (_doubt(policy), *beside))
    if first.cautions:
        return Verdict(
            "inconclusive", first.probability, point, (), (*first.cautions, _no_clearance(clear), *first.reasons)
        )
    return Verdict("no_evidence", first.probability, point, (), (_clearance(clear), *first.reasons))


def _suspicion(found: tuple[Region, ...], point: OperatingPoint) -> str:
    places = "1 place differs" if len(found) == 1 else f"{len(found)} places differ"
    return f"{places} from the rest of the scan as strongly as in {point.false_positive_rate:.1%} of authentic series"


def _doubt(policy: Policy) -> str:
    return (
        f"the strongest place is more striking than in {1 - policy.clear_at:.0%} of authentic series, "
        f"but not than in {1 - policy.suspicious_at:.0%}: too little to accuse, too much to clear"
    )


def _clearance(clear: OperatingPoint) -> str:
    missed = "" if clear.miss_rate is None else f", as {clear.miss_rate:.0%} of simulated forgeries are"
    return f"no place differs from the rest of the scan more than in authentic series; a forgery can be missed{missed}"


def _no_clearance(clear: OperatingPoint) -> str:
    missed = (
        "" if clear.miss_rate is None else f" more than the {clear.miss_rate:.0%} that are missed in untouched scans"
    )
    return f"no place differs from the rest of the scan, but forgeries would be missed here{missed}"


def regions(volume: Volume, heatmap: FloatArray | None, threshold: float, growth: float) -> tuple[Region, ...]:
    """Connected places of ``heatmap`` (D, H, W) that hold a value of ``threshold``, strongest first.

    Each is grown to what touches it above ``growth`` times the threshold (hysteresis, Canny 1986), through slices too.
    """
    if heatmap is None:
        return ()
    above = heatmap >= threshold * growth
    slices = np.flatnonzero(above.any(axis=(1, 2)))
    if slices.size == 0:
        return ()
    first, last = int(slices[0]), int(slices[-1]) + 1
    labels, _ = ndimage.label(above[first:last], structure=np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[box] == number
        values = np.where(mask, heatmap[first:last][box], 0.0)
        if values.max() >= threshold:
            found.append(_region(volume, values, mask, (box[0].start + first, box[1].start, box[2].start)))
    return tuple(sorted(found, key=lambda region: -region.score)[:MAX_REGIONS])


def _region(volume: Volume, values: FloatArray, mask: MaskArray, starts: tuple[int, int, int]) -> Region:
    weights = values.astype(np.float64)
    centre = [float(c) + start for c, start in zip(ndimage.center_of_mass(weights), starts, strict=True)]
    k, j, i = (round(c) for c in centre)
    ends = [start + size - 1 for start, size in zip(starts, values.shape, strict=True)]
    _, down, across = volume.spacing_mm
    diameter = max(values.shape[1] * down, values.shape[2] * across)
    return Region(
        centre_index=(k, j, i),
        centre_mm=volume.position_mm((k, j, i)) if volume.geometry == "patient" else None,
        box_index=(starts, (ends[0], ends[1], ends[2])),
        diameter_mm=None if volume.geometry == "none" else round(float(diameter), 2),
        score=float(values.max()),
        mask=mask,
    )
