"""How a run went, drawn: the loss, and the measure by which it is stopped, over steps."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tamperscope.evaluate.plots import FAINT, LINE, SECOND, STYLE

INCHES, DOTS = (7.2, 2.8), 120
TITLES: Mapping[str, str] = {"loss": "loss", "auroc": "AUROC, part calibrate"}


def curves(record: Path, best: int | None = None) -> bytes | None:
    """The losses and measures of a ``record.jsonl`` as PNG, a panel each; None if it holds none yet.

    Args:
        record: See `run.fit`.
        best: The step whose weights were kept, to be marked.
    """
    rows = _rows(record)
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("step", "seconds")))
    if not names:
        return None
    stream = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(INCHES[0] / 2 * max(len(names), 2), INCHES[1]), layout="constrained")
        FigureCanvasAgg(figure)
        for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
            _draw(axes, name, rows, best)
        figure.savefig(stream, format="png", dpi=DOTS, metadata={"Software": None}, facecolor="white")
    return stream.getvalue()


def _draw(axes: Axes, name: str, rows: Sequence[Mapping[str, Any]], best: int | None) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    axes.plot(*zip(*points, strict=True), color=LINE, marker=".", markersize=4, linewidth=1.4)
    text = " "  # holds the place, so that both panels keep their size
    if best is not None and name != "loss":
        axes.axvline(best, color=SECOND, linestyle="--", linewidth=1)
        kept = dict(points).get(best)
        text = f"kept: step {best}" + ("" if kept is None else f", {kept:.3f}")
    axes.set_title(text, color=SECOND, fontsize=9, loc="right")
    axes.set(xlabel="steps", ylabel=TITLES.get(name, name))
    axes.tick_params(color=FAINT)


def _rows(record: Path) -> list[dict[str, Any]]:
    """The lines of losses; of a step that was taken twice the later one, and no line that a kill tore."""
    text = record.read_text(encoding="utf-8") if record.exists() else ""
    found: dict[int, dict[str, Any]] = {}
    for line in text.splitlines(keepends=True):
        row = json.loads(line) if line.endswith("\n") else {}
        if "step" in row:
            found[row["step"]] = row
    return [found[step] for step in sorted(found)]
