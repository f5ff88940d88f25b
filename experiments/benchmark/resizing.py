"""What it costs to look at small pictures: one model on the same single slices, as they are and after a small size.

    python experiments/benchmark/resizing.py ct-set --model ct-fast --out runs/resizing

Every slice is made as small as the networks of the literature take it, and as large as before again, so that the same
model can judge it: what differs is what the small picture has lost.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tamperscope.datasets import cases, table
from tamperscope.datasets.cases import Case
from tamperscope.datasets.manifest import digested
from tamperscope.evaluate.evaluation import Asked, chosen
from tamperscope.evaluate.robustness import Change
from tamperscope.evaluate.run import Run, run_changed, selected
from tamperscope.evaluate.summary import by_series, level, places
from tamperscope.records import JSON

SIDES = (None, 380, 224, 128)
"""Pixels a side: as they are, EfficientNet-B4's, most networks', and that of the recipes for a CPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="ct-fast")
    parser.add_argument("--part", default="test")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    tested, sha256 = chosen(Asked(asked.model, asked.data, asked.out))
    entries = selected(table.read(asked.data).entries, asked.part)
    single = digested(group[0] for group in cases.by_series(entries) if len(group) == 1)
    names = [f"{side}-pixels" if side else "as-they-are" for side in SIDES]
    changes = [Change("size", name, partial(shrunk, side)) for name, side in zip(names, SIDES, strict=True)]
    runs = run_changed(single, tested, {"sha256": sha256}, asked.out, changes)
    print(f"{asked.model} on {len(single)} single slices\n")
    print("| slices | AUROC | forged called suspicious | authentic | pointing | refused |\n|---|---|---|---|---|---|")
    for name, answers in zip(names, runs, strict=True):
        print(f"| {name.replace('-', ' ')} | {' | '.join(cells(answers, tested.threshold))} |")


def shrunk(side: int | None, case: Case) -> Case:
    """Each slice at ``side`` pixels, and at its own size again; longer sides are never enlarged."""
    if side is None or max(case.volume.shape[1:]) <= side:
        return case
    _, height, width = case.volume.shape
    small = (side, side)
    planes = [Image.fromarray(plane).resize(small, Image.Resampling.BILINEAR) for plane in case.volume.voxels]
    back = [np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR), np.float32) for plane in planes]
    return replace(case, volume=replace(case.volume, voxels=np.stack(back)))


def cells(answers: Run, threshold: float) -> Sequence[str]:
    found = level(by_series(answers.outcomes), threshold, np.random.default_rng(0), 1000)
    local = places(answers.outcomes, np.random.default_rng(0), 0)
    pointing = local.get("pointing") if isinstance(local, dict) else None
    refused = sum(one.score is None for one in answers.outcomes)
    mean = f"{pointing['mean']:.2f}" if isinstance(pointing, dict) else "none"
    return (
        with_interval(found, "auroc"),
        *(f"{found[key]:.2f}" for key in ("recall", "false_alarm_rate")),
        mean,
        str(refused),
    )


def with_interval(found: Mapping[str, JSON], key: str) -> str:
    value, interval = found[key], found[f"{key}_interval"]
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})" if isinstance(interval, list) else f"{value:.2f}"


if __name__ == "__main__":
    main()
