"""What a model answers on each case, as rows that can be kept, and from which every table is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tamperscope import anatomy
from tamperscope.calibrate import Curve, calibrated
from tamperscope.datasets.cases import Case
from tamperscope.detectors import Detector
from tamperscope.evaluate import froc, overlap
from tamperscope.evaluate.localisation import RADIUS_MM
from tamperscope.evaluate.metrics import pointing_hit, region_auroc
from tamperscope.records import Evidence, FloatArray, MaskArray, Volume
from tamperscope.verdict import Policy, decide, regions

CHANGED_VOXELS = 16
"""Changed voxels that make a slice a forged one: fewer are the rim of a touch-up."""
REGION_SEED = 0


@dataclass(frozen=True, slots=True)
class Tested:
    """A model as it is judged: what looks, how its score is read, and where it draws the line."""

    name: str
    detector: Detector
    calibration: Curve
    policy: Policy = field(default_factory=Policy)

    @property
    def threshold(self) -> float:
        """Probability from which it calls a series suspicious; fixed before any test case was seen."""
        return self.calibration.operating_point(self.policy.suspicious_at).threshold

    def judge(self, volume: Volume) -> Evidence:
        """Calibrated evidence on a volume."""
        return calibrated(self.detector.detect(volume), self.calibration)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case and the answer to it. Scores are calibrated probabilities; None where the model refused."""

    name: str
    patient: str
    forged: bool
    groups: Mapping[str, str]
    score: float | None
    verdict: str
    reasons: tuple[str, ...] = ()
    slice_scores: tuple[float, ...] = ()
    slice_truths: tuple[bool, ...] = ()
    """Which slices are forged; empty where nobody says."""
    place: Mapping[str, float] = field(default_factory=dict)
    """How well the map shows the place: see `localised`; on an authentic volume its flagged share alone."""
    marks: tuple[tuple[float, int | None], ...] = ()
    """Score of each region that the model marked, and the forgery that it hits."""
    lesions: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As a row of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Outcome:
        """A row as `to_json` made it."""
        sequences = {key: tuple(row[key]) for key in ("reasons", "slice_scores", "slice_truths")}
        marks = tuple((float(score), hit) for score, hit in row["marks"])
        return cls(**{**row, **sequences, "marks": marks})

    @property
    def scan(self) -> froc.Scan:
        """Its marks, for the FROC curve."""
        return froc.Scan(tuple(froc.Mark(score, hit) for score, hit in self.marks), self.lesions)


def outcome(case: Case, tested: Tested, clock: Callable[[], float] = time.perf_counter) -> Outcome:
    """Let a model judge a case, and hold its answer against the truth."""
    started = clock()
    evidence = tested.judge(case.volume)
    seconds = clock() - started
    answer = decide(case.volume, [evidence], tested.calibration, tested.policy)
    marks, lesions = marked(case, evidence, tested)
    return Outcome(
        name=case.name,
        patient=case.patient,
        forged=case.forged,
        groups=dict(case.groups),
        score=evidence.probability,
        verdict=answer.label,
        reasons=answer.reasons,
        slice_scores=evidence.slice_scores if evidence.probability is not None else (),
        slice_truths=tuple(_slice_truths(case)),
        place=localised(case, evidence, tested.threshold),
        marks=marks,
        lesions=lesions,
        seconds=seconds,
    )


def _slice_truths(case: Case) -> list[bool]:
    """Which slices are forged; without a mask that is known of a single slice alone."""
    if case.mask is not None:
        return [bool(count >= CHANGED_VOXELS) for count in case.mask.sum(axis=(1, 2))]
    return [case.forged] if case.volume.shape[0] == 1 else []


def localised(case: Case, evidence: Evidence, threshold: float) -> dict[str, float]:
    """Pixel F1, IoU, pointing game, voxel AP, oracle F1 and box IoU of a forged volume with a mask.

    By the stated places pointing within 24 mm and region AUROC, with a mask or without. Of an authentic volume the
    share of voxels that are flagged. Empty where the model gives no map, or nobody says where the forgery is.
    """
    heatmap, mask = evidence.heatmap, case.mask
    if heatmap is None or evidence.probability is None:
        return {}
    if not case.forged:
        return {"flagged_share": overlap.flagged_share(heatmap, threshold)}
    found = {"pointing_mm": _pointing_mm(case, evidence), "region_auroc": _region_auroc(case, evidence)}
    if mask is not None:
        found |= {
            "pixel_f1": overlap.pixel_f1(heatmap, mask, threshold),
            "iou": overlap.iou(heatmap, mask, threshold),
            "pointing": overlap.pointing_game(heatmap, mask),
            "voxel_ap": overlap.voxel_ap(heatmap, mask),
            "oracle_f1": overlap.best_f1(heatmap, mask).f1,
            "box_iou": _box_iou(case, evidence, threshold),
        }
    return {key: value for key, value in found.items() if np.isfinite(value)}


def _box_iou(case: Case, evidence: Evidence, threshold: float) -> float:
    """Overlap of the box of the strongest region with that of the mask; 0 where nothing was marked."""
    found = regions(case.volume, evidence.heatmap, threshold, Policy().growth)
    changed = _changed_index(case.mask)
    if not found or not changed.size:
        return 0.0
    low, high = found[0].box_index
    return overlap.box_iou((low, high), (tuple(changed.min(axis=0)), tuple(changed.max(axis=0))))


def _pointing_mm(case: Case, evidence: Evidence) -> float:
    """Share of the stated places that the strongest point of their slice comes within `RADIUS_MM` of."""
    spacing = case.volume.spacing_mm[1:]
    hits = [pointing_hit(heat, body, place, spacing, RADIUS_MM) for heat, body, place in _placed_slices(case, evidence)]
    return float(np.mean(hits)) if hits else float("nan")


def _region_auroc(case: Case, evidence: Evidence) -> float:
    """Mean over the stated places of `metrics.region_auroc` in the slice of each."""
    spacing = case.volume.spacing_mm[1:]
    areas = [
        region_auroc(heat, body, place, spacing, np.random.default_rng(REGION_SEED))
        for heat, body, place in _placed_slices(case, evidence)
    ]
    return float(np.nanmean(areas)) if areas and not np.isnan(areas).all() else float("nan")


def _placed_slices(case: Case, evidence: Evidence) -> Iterator[tuple[FloatArray, MaskArray, tuple[int, int]]]:
    """For each stated place the map (H, W) and the body (H, W) of its slice, and row and column."""
    for k, row, column in case.places:
        if evidence.heatmap is not None and 0 <= k < case.volume.shape[0]:
            yield evidence.heatmap[k], anatomy.body(case.volume.voxels[k : k + 1])[0], (row, column)


def marked(case: Case, evidence: Evidence, tested: Tested) -> tuple[tuple[tuple[float, int | None], ...], int]:
    """Score of every region above the border of "no evidence", the forgery that each hits, and how many there are."""
    lesions = _lesions_mm(case)
    if evidence.heatmap is None or evidence.probability is None:
        return (), len(lesions)
    clear = tested.calibration.operating_point(tested.policy.clear_at).threshold
    found = regions(case.volume, evidence.heatmap, clear, tested.policy.growth)
    spacing = np.array(case.volume.spacing_mm)
    centres = [np.array(region.centre_index) * spacing for region in found]
    hits = froc.lesions_hit(centres, [centre for centre, _ in lesions], [radius for _, radius in lesions])
    return tuple((region.score, hit) for region, hit in zip(found, hits, strict=True)), len(lesions)


def _lesions_mm(case: Case) -> list[tuple[np.ndarray, float]]:
    """Centre (k, j, i) in mm along the axes of the grid, and radius, of each forgery: its places, else its mask."""
    if not case.forged:
        return []
    spacing = np.array(case.volume.spacing_mm)
    changed = _changed_index(case.mask)
    radius = float((np.ptp(changed, axis=0) * spacing).max() / 2.0) if changed.size else 0.0
    if case.places:
        return [(np.array(place) * spacing, radius if len(case.places) == 1 else 0.0) for place in case.places]
    return [(changed.mean(axis=0) * spacing, radius)] if changed.size else []


def _changed_index(mask: MaskArray | None) -> np.ndarray:
    """(N, 3): the index (k, j, i) of each changed voxel; none where nobody says."""
    return np.empty((0, 3), dtype=np.intp) if mask is None else np.argwhere(mask)
