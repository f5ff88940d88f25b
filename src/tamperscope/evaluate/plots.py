"""Curves of an evaluation as SVG: ROC, precision-recall, confusion matrix, reliability, FROC, risk and coverage.

matplotlib draws them (extra ``train``); it is loaded when the first plot is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from tamperscope.errors import MissingExtraError
from tamperscope.evaluate import decisions, froc, ranking, reliability
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import Scored, confidence
from tamperscope.records import JSON

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (4.2, 3.6)
WIDE_INCHES = (9.0, 5.6)
INK, FAINT, LINE, SECOND = "#303642", "#8a93a3", "#0b57a4", "#b85c00"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "tamperscope",  # the same figures give the same file
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#dfe3ea",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
Draw = Callable[["Axes"], None]


def require() -> None:
    """Make sure that plots can be drawn, before hours are spent on what they show.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train")


def drawn(draw: Draw, inches: tuple[float, float] = INCHES) -> bytes:
    """One plot as SVG, its size in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "train") from error
    stream = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "tamperscope"}, facecolor="white")
    return stream.getvalue()


def every(outcomes: Sequence[Outcome], levels: Mapping[str, Scored], threshold: float) -> dict[str, bytes]:
    """All plots by their name; no FROC of a model that gives no map."""
    series = levels["series"]
    found = {
        "ROC": drawn(lambda axes: roc(axes, levels)),
        "Precision and recall": drawn(lambda axes: precision_recall(axes, levels)),
        "Confusion matrix": drawn(lambda axes: confusion(axes, series, threshold)),
        "Reliability": drawn(lambda axes: reliable(axes, outcomes)),
        "Risk and coverage": drawn(lambda axes: risk(axes, outcomes)),
    }
    if any(one.place or one.marks for one in outcomes):
        found["FROC"] = drawn(lambda axes: marks(axes, outcomes))
    return found


def robust(rows: Sequence[Mapping[str, JSON]]) -> bytes:
    """AUROC after each change with its interval, beside that without any, the first of ``rows``; see `robustness`."""
    return drawn(lambda axes: _robust(axes, rows), WIDE_INCHES)


def roc(axes: Axes, levels: Mapping[str, Scored]) -> None:
    """One curve a level, and the diagonal of a guess."""
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1)
    for (name, scored), colour in zip(levels.items(), (LINE, SECOND, FAINT), strict=False):
        forged, authentic = scored.sides
        if forged.size and authentic.size:
            curve = ranking.roc(forged, authentic)
            axes.plot(curve.false_alarm_rates, curve.detection_rates, color=colour, label=name)
    axes.set(xlabel="false alarms (share of authentic)", ylabel="found (share of forged)", xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes)


def precision_recall(axes: Axes, levels: Mapping[str, Scored]) -> None:
    """One curve a level; the dotted line is the share of forged cases, which a guess reaches."""
    for (name, scored), colour in zip(levels.items(), (LINE, SECOND, FAINT), strict=False):
        forged, authentic = scored.sides
        if forged.size and authentic.size:
            curve = ranking.precision_recall(forged, authentic)
            axes.step(curve.recalls, curve.precisions, color=colour, where="pre", label=name)
            axes.axhline(forged.size / scored.scores.size, color=colour, linestyle=":", linewidth=1)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes)


def confusion(axes: Axes, scored: Scored, threshold: float) -> None:
    """Counts of series, and shares of each row."""
    found = decisions.at(*scored.sides, threshold)
    table = np.array(
        [[found.true_positives, found.false_negatives], [found.false_positives, found.true_negatives]], dtype=float
    )
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(table):
        share = shares[row, column]
        text = f"{count:.0f}\n{share:.0%}"
        axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.5 else INK, fontsize=12)
    axes.set(xticks=[0, 1], yticks=[0, 1], xticklabels=["suspicious", "not"], yticklabels=["forged", "authentic"])
    axes.grid(visible=False)
    axes.tick_params(length=0)


def reliable(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Share of forged series against the stated probability."""
    answered = [(one.score, one.forged) for one in outcomes if one.score is not None]
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1)
    if answered:
        curve = reliability.reliability_curve([score for score, _ in answered], [forged for _, forged in answered])
        axes.plot(curve.probabilities, curve.frequencies, color=LINE, marker="o", markersize=4)
    axes.set(xlabel="stated probability", ylabel="share that is forged", xlim=(0, 1), ylim=(-0.01, 1.01))


def marks(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Share of the forgeries that are found against false marks per series."""
    curve = froc.froc([one.scan for one in outcomes])
    if curve.sensitivities.size and np.isfinite(curve.sensitivities).all():
        axes.step(curve.false_marks, curve.sensitivities, color=LINE, where="post")
    axes.set(xlabel="false marks per series", ylabel="forgeries found", ylim=(0, 1.01))
    axes.set_xlim(left=0)


def risk(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Share of wrong answers against the share of answered series that are answered, the surest first."""
    curve = reliability.risk_coverage(*confidence(outcomes))
    if curve.coverages.size:
        axes.step(curve.coverages, curve.risks, color=LINE, where="post")
    axes.set(xlabel="share that is answered, surest first", ylabel="share of wrong answers", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)


def _robust(axes: Axes, rows: Sequence[Mapping[str, JSON]]) -> None:
    for place, row in enumerate(rows):
        area, ends = row["auroc"], row["auroc_interval"]
        colour = LINE if place else SECOND
        if isinstance(ends, list):
            low, high = (float(end) if isinstance(end, float) else np.nan for end in ends)
            axes.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.4)
        if isinstance(area, float):
            axes.plot([area], [place], color=colour, marker="o", markersize=5)
            if place == 0:
                axes.axvline(area, color=SECOND, linestyle=":", linewidth=1)
    axes.axvline(0.5, color=FAINT, linestyle=":", linewidth=1)
    axes.set(
        xlabel="AUROC of the series (dotted: a guess, and no change)", xlim=(0, 1.01), ylim=(len(rows) - 0.5, -0.5)
    )
    axes.set_yticks(range(len(rows)), [str(row["change"]) for row in rows])


def forest(axes: Axes, rows: Sequence[tuple[str, float, Sequence[float] | None, bool]]) -> None:
    """A line for each model, the first on top: name, AUROC, its interval or None, and whether it differs from the best.

    The dotted line is that of a guess.
    """
    axes.axvline(0.5, color=FAINT, linestyle=":", linewidth=1)
    for place, (_, value, interval, differs) in enumerate(rows):
        colour = FAINT if differs else LINE
        if interval is not None:
            axes.plot(interval, [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([value], [place], color=colour, marker="o", markersize=5)
    axes.set(xlabel="AUROC by series, 95 %", yticks=range(len(rows)), yticklabels=[name for name, *_ in rows])
    low = min([0.45, *(value for _, value, *_ in rows), *(pair[0] for _, _, pair, _ in rows if pair is not None)])
    axes.set(xlim=(low - 0.02, 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower right")
