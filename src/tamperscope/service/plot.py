"""The scores along the slices as numbers that a template draws: bars, the threshold, runs of suspicious slices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tamperscope.records import SeriesResult

WIDTH, HEIGHT = 1000.0, 100.0
"""Of the drawing, in its own units: x counts slices, y is the score, 1 at the upper edge."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One slice."""

    index: int
    x: float
    y: float
    width: float
    height: float
    above: bool
    """Whether the score reaches the threshold."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring slices that all reach the threshold: one target to jump to, at its highest."""

    first: int
    last: int
    peak: int
    score: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn for a series."""

    depth: int
    bars: tuple[Bar, ...]
    runs: tuple[Run, ...]
    threshold: float | None
    """Of the score, in [0, 1]."""
    line: float | None
    """Where the threshold lies in the drawing."""


def scores(result: SeriesResult) -> Plot | None:
    """The plot of a series; None where its slices have no scores, or there is one slice alone."""
    values = [s.score if math.isfinite(s.score) else 0.0 for s in result.slices]
    threshold = result.operating_point.threshold if result.operating_point else None
    return None if len(values) < 2 else shares(values, threshold)


def shares(values: Sequence[float], threshold: float | None = None) -> Plot:
    """The plot of any values in [0, 1], one a slice."""
    step = WIDTH / len(values)
    bars = tuple(_bar(index, value, step, threshold) for index, value in enumerate(values))
    runs = tuple(_run(run, values, step) for run in _runs(bar.index for bar in bars if bar.above))
    return Plot(len(values), bars, runs, threshold, None if threshold is None else HEIGHT * (1.0 - threshold))


def _bar(index: int, value: float, step: float, threshold: float | None) -> Bar:
    height = HEIGHT * min(max(value, 0.0), 1.0)
    gap = step * 0.15
    above = threshold is not None and value >= threshold
    return Bar(index, _rounded(index * step + gap / 2), _rounded(HEIGHT - height), _rounded(step - gap), height, above)


def _runs(indices: Iterable[int]) -> list[list[int]]:
    """Indices in order, split where one is missing."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _run(run: list[int], values: Sequence[float], step: float) -> Run:
    peak = max(run, key=lambda index: (values[index], -index))
    return Run(run[0], run[-1], peak, values[peak], _rounded(run[0] * step), _rounded(len(run) * step))


def _rounded(value: float) -> float:
    return round(value, 2)
