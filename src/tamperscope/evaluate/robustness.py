"""What is left of a model after what real pictures go through: a grid of benign changes, each on every series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from tamperscope import attacks
from tamperscope.attacks import Attack
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.reslice import halved, thickened
from tamperscope.evaluate.run import Run
from tamperscope.evaluate.summary import by_series, counts, interval
from tamperscope.records import JSON

LUNG_WINDOW_HU = (-1350.0, 150.0)
KEPT = 0.8
"""Share of rows and columns that a crop leaves, in the middle."""
SEED = 0


class _Made(Protocol):
    def __call__(self, case: Case, /) -> Case: ...


@dataclass(frozen=True, slots=True)
class Change:
    """One benign change at one strength, the same for forged and authentic series."""

    family: str
    level: str
    made: _Made
    slices: int = 1
    """What a series needs at least: there is nothing between the slices of a single one."""

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.family} {self.level}"

    def __call__(self, case: Case) -> Case | None:
        """The case after the change, with mask and places on its new grid; None where it does not apply.

        The truth of which voxels were forged stays that of before.
        """
        return None if case.volume.shape[0] < self.slices else self.made(case)


def grid() -> tuple[Change, ...]:
    """JPEG, JPEG 2000, noise, blur, resizing, denoising, an 8-bit window, a crop and other slices; weak to strong."""
    jpeg, noise, filters, resize = attacks.Compress(), attacks.AddNoise(), attacks.Denoise(), attacks.Resize()
    plain = {"sigma": 0.0, "roll_off": 0.0, "streaks": 0.0, "degrees": 0.0, "seed": SEED}
    by_attack: list[tuple[str, str, Attack, Mapping[str, Any]]] = [
        *(("jpeg", f"quality {q}", jpeg, {"codec": "jpeg", "quality": q}) for q in (100, 90, 80, 70, 60, 50)),
        *(("jpeg2000", f"ratio {r}", jpeg, {"codec": "jpeg2000", "ratio": r}) for r in (5, 10, 20)),
        *(("noise", f"{hu} HU", noise, plain | {"strength": hu}) for hu in (5, 10, 20, 40)),
        *(("blur", f"{s} px", filters, {"filter": "gaussian", "sigma": s, "share": 1.0}) for s in (0.5, 1.0, 2.0, 4.0)),
        *(("resize", f"x {f}", resize, {"factor": f, "filter": "bicubic"}) for f in (1.5, 0.75, 0.5)),
        ("denoise", "median", filters, {"filter": "median", "sigma": 0.0, "share": 1.0}),
        ("denoise", "iterative", attacks.Denoise("iterative"), {"filter": "iterative", "sigma": 1.2, "share": 0.6}),
    ]
    return (
        *(Change(family, level, partial(_attacked, attack, params)) for family, level, attack, params in by_attack),
        Change("8 bit", "lung window", _windowed),
        Change("crop", f"{KEPT:.0%}", _cropped),
        Change("re-slice", "pairs averaged", thickened, slices=2),
        Change("re-slice", "half spacing", halved, slices=2),
    )


def _attacked(attack: Attack, params: Mapping[str, Any], case: Case) -> Case:
    return replace(case, volume=attack.apply(case.volume, params).volume)


def _windowed(case: Case) -> Case:
    low, high = LUNG_WINDOW_HU
    if case.volume.modality != "CT":
        low, high = (float(value) for value in np.percentile(case.volume.voxels, (0.5, 99.5)))
    return _attacked(attacks.Window8bit(), {"low": low, "high": max(high, low + 1.0)}, case)


def _cropped(case: Case) -> Case:
    """Slices cut to their middle; places and mask move along, and places that are cut away are dropped."""
    depth, height, width = case.volume.shape
    top, left = (round((1.0 - KEPT) / 2 * size) for size in (height, width))
    bottom, right = height - top, width - left
    params: dict[str, Any] = {"start": [0, top, left], "stop": [depth, bottom, right]}
    inside = [(k, j - top, i - left) for k, j, i in case.places if top <= j < bottom and left <= i < right]
    mask = None if case.mask is None else case.mask[:, top:bottom, left:right]
    return replace(_attacked(attacks.Crop(), params, case), mask=mask, places=tuple(inside))


def row(change: str, answers: Run, threshold: float, resamples: int) -> dict[str, JSON]:
    """What is left under one change: AUROC with its interval, both rates at the threshold, who is refused or out."""
    scored = by_series(answers.outcomes)
    forged, authentic = scored.sides
    area = auroc(forged, authentic)
    found = counts(answers.outcomes)
    return {
        "change": change,
        "auroc": None if np.isnan(area) else round(area, 4),
        "auroc_interval": interval(scored, lambda s, t: auroc(s[t], s[~t]), np.random.default_rng(SEED), resamples),
        "recall": round(float(np.mean(forged >= threshold)), 4) if forged.size else None,
        "false_alarm_rate": round(float(np.mean(authentic >= threshold)), 4) if authentic.size else None,
        "cleared": found["cleared"] if isinstance(found, dict) else None,
        "refused": found["refused"] if isinstance(found, dict) else None,
        "series": len(answers.outcomes),
        "not_applicable": len(answers.left_out),
        "failed": len(answers.failed),
    }


def rows(names: Sequence[str], runs: Sequence[Run], threshold: float, resamples: int) -> list[dict[str, JSON]]:
    """A row for each change, the lowest AUROC first; those without one last."""
    found = [row(name, answers, threshold, resamples) for name, answers in zip(names, runs, strict=True)]
    return sorted(found, key=lambda one: one["auroc"] if isinstance(one["auroc"], float) else 2.0)
