"""Does the map of a slice point at the labelled place? Pointing accuracy and region AUROC over a set of slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tamperscope import anatomy
from tamperscope.evaluate.metrics import pointing_hit, region_auroc, wilson_interval
from tamperscope.records import FloatArray, Volume

RADIUS_MM = 24.0
"""How near the maximum has to lie to the labelled centre to count as a hit."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What one labelled slice showed."""

    group: str
    hit: bool
    region_auroc: float


def judge(
    group: str, volume: Volume, heatmap: FloatArray, place: tuple[int, int, int], rng: np.random.Generator
) -> Placed:
    """Hold the heat map (D, H, W) of ``volume`` against the label at ``place`` (k, j, i)."""
    k, row, column = place
    body = anatomy.body(volume.voxels[k : k + 1])[0]
    _, down, across = volume.spacing_mm
    hit = pointing_hit(heatmap[k], body, (row, column), (down, across), RADIUS_MM)
    return Placed(group, hit, region_auroc(heatmap[k], body, (row, column), (down, across), rng))


def summary(placed: Iterable[Placed]) -> Mapping[str, Mapping[str, float]]:
    """For each group: slices, pointing accuracy with its 95 % interval, mean region AUROC."""
    groups: dict[str, list[Placed]] = {}
    for one in placed:
        groups.setdefault(one.group, []).append(one)
    table = {}
    for group, members in sorted(groups.items()):
        hits = sum(one.hit for one in members)
        low, high = wilson_interval(hits, len(members))
        table[group] = {
            "slices": float(len(members)),
            "pointing": hits / len(members),
            "pointing_low": low,
            "pointing_high": high,
            "region_auroc": _mean([one.region_auroc for one in members]),
        }
    return table


def _mean(values: list[float]) -> float:
    """The mean of those that are a number; NaN where none is."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")
