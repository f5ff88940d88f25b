"""What is left of a model after what real pictures go through: a grid of benign changes, each on every series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tamperscope import attacks
from tamperscope.attacks import Attack
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import by_series, counts, interval
from tamperscope.records import JSON

LUNG_WINDOW_HU = (-1350.0, 150.0)
KEPT = 0.8
"""Share of rows and columns that a crop leaves, in the middle."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One benign change at one strength, the same for forged and authentic series."""

    family: str
    level: str
    attack: Attack
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.family} {self.level}"

    def __call__(self, case: Case) -> Case:
        """The case after the change; the truth of which voxels were forged stays that of before."""
        if isinstance(self.attack, attacks.Crop):
            return _cropped(case, self.attack)
        params = dict(self.params)
        if isinstance(self.attack, attacks.Window8bit) and case.volume.modality != "CT":
            low, high = np.percentile(case.volume.voxels, (0.5, 99.5))
            params |= {"low": float(low), "high": float(max(high, low + 1.0))}
        return replace(case, volume=self.attack.apply(case.volume, params).volume)


def grid() -> tuple[Change, ...]:
    """JPEG, JPEG 2000, noise, blur, resizing, denoising, an 8-bit window and a crop, from weak to strong."""
    jpeg, noise, filters, resize = attacks.Compress(), attacks.AddNoise(), attacks.Denoise(), attacks.Resize()
    plain = {"sigma": 0.0, "roll_off": 0.0, "streaks": 0.0, "degrees": 0.0, "seed": SEED}
    changes: list[tuple[str, str, Attack, Mapping[str, Any]]] = [
        *(("jpeg", f"quality {q}", jpeg, {"codec": "jpeg", "quality": q}) for q in (100, 90, 80, 70, 60, 50)),
        *(("jpeg2000", f"ratio {r}", jpeg, {"codec": "jpeg2000", "ratio": r}) for r in (5, 10, 20)),
        *(("noise", f"{hu} HU", noise, plain | {"strength": hu}) for hu in (5, 10, 20, 40)),
        *(("blur", f"{s} px", filters, {"filter": "gaussian", "sigma": s, "share": 1.0}) for s in (0.5, 1.0, 2.0)),
        *(("resize", f"x {f}", resize, {"factor": f, "filter": "bicubic"}) for f in (1.5, 0.75, 0.5)),
        ("denoise", "median", filters, {"filter": "median", "sigma": 0.0, "share": 1.0}),
        ("denoise", "iterative", attacks.Denoise("iterative"), {"filter": "iterative", "sigma": 1.2, "share": 0.6}),
        ("8 bit", "lung window", attacks.Window8bit(), dict(zip(("low", "high"), LUNG_WINDOW_HU, strict=True))),
        ("crop", f"{KEPT:.0%}", attacks.Crop(), {}),
    ]
    return tuple(Change(*change) for change in changes)


def _cropped(case: Case, crop: Attack) -> Case:
    """Slices cut to their middle; places and mask move along, and places that are cut away are dropped."""
    depth, height, width = case.volume.shape
    top, left = (round((1.0 - KEPT) / 2 * size) for size in (height, width))
    bottom, right = height - top, width - left
    params: dict[str, Any] = {"start": [0, top, left], "stop": [depth, bottom, right]}
    inside = [(k, j - top, i - left) for k, j, i in case.places if top <= j < bottom and left <= i < right]
    mask = None if case.mask is None else case.mask[:, top:bottom, left:right]
    return replace(case, volume=crop.apply(case.volume, params).volume, mask=mask, places=tuple(inside))


def row(change: str, outcomes: Sequence[Outcome], threshold: float, resamples: int) -> dict[str, JSON]:
    """What is left under one change: AUROC with its interval, both rates at the threshold, and refusals."""
    scored = by_series(outcomes)
    forged, authentic = scored.sides
    area = auroc(forged, authentic)
    found = counts(outcomes)
    return {
        "change": change,
        "auroc": None if np.isnan(area) else round(area, 4),
        "auroc_interval": interval(scored, lambda s, t: auroc(s[t], s[~t]), np.random.default_rng(SEED), resamples),
        "recall": round(float(np.mean(forged >= threshold)), 4) if forged.size else None,
        "false_alarm_rate": round(float(np.mean(authentic >= threshold)), 4) if authentic.size else None,
        "refused": found["refused"] if isinstance(found, dict) else None,
    }
