"""What a split by slices is worth: the same system, trained and judged on slices of the same patients, beside this one.

A network that was trained on slices of a patient knows the neighbours of those that it is judged by. Yagis et al.
(Effect of data leakage in brain MRI classification using 2D convolutional neural networks, Scientific Reports 11, 2021)
found 29 to 55 points of accuracy in that, and 96 % with labels drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamperscope.errors import UnreadableError
from tamperscope.records import JSON

FIGURES = {"auroc": "AUROC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
LEVELS = {"slice": "slices", "series": "series"}
NOTABLE = 0.02
"""Difference from which it is called an inflation."""


@dataclass(frozen=True, slots=True)
class Leaking:
    """The figures of the evaluation on the split by slices."""

    model: str
    figures: Mapping[str, Any]


def read(folder: Path) -> Leaking:
    """The figures in the folder of an evaluation.

    Raises:
        UnreadableError: there are none.
    """
    path = folder / "evaluation.json"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        levels = {level: {key: tree[level][key] for key in FIGURES} for level in LEVELS}
        return Leaking(str(tree["model"]), levels)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"cannot read {path}: {error}", hint="give the folder of an evaluation on the split by slices"
        ) from error


def beside(model: str, figures: Mapping[str, Any], leaking: Leaking) -> dict[str, JSON]:
    """Figures of both splits side by side, what the split by slices adds, and what that means in words.

    Args:
        model: what is evaluated here, on patients that it does not know.
        figures: of that evaluation, as `summary.summary` gives them.
        leaking: of the split by slices.
    """
    rows: list[dict[str, JSON]] = []
    for level in LEVELS:
        for key in FIGURES:
            honest, leaked = figures[level][key], leaking.figures[level][key]
            known = isinstance(honest, float) and isinstance(leaked, float)
            more = round(leaked - honest, 4) if known else None
            rows.append({"level": level, "figure": key, "patients": honest, "slices": leaked, "inflation": more})
    said = [in_words(model, leaking.model, row) for row in rows if row["figure"] == "auroc"]
    return {"model": leaking.model, "rows": [*rows], "in_words": [*said]}


def in_words(model: str, leaking: str, row: Mapping[str, JSON]) -> str:
    """One row as a sentence."""
    what = f"{FIGURES[str(row['figure'])]} of {LEVELS[str(row['level'])]}"
    more = row["inflation"]
    if not isinstance(more, float):
        return f"{what}: not measurable on both splits."
    both = f"{row['slices']:.3f} split by slices ({leaking}), {row['patients']:.3f} split by patients ({model})"
    if more < NOTABLE:
        return f"{what}: {both}: the split by slices adds nothing here."
    return f"{what}: {both}: {more:.3f} of it comes from slices of patients that the model was trained on."
