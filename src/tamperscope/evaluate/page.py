"""An evaluation as one HTML page that needs nothing else: figures with their intervals, worst groups first, plots."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

import tamperscope
from tamperscope.records import JSON, Failure
from tamperscope.report import words

ROWS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "recall": "recall: forged cases called suspicious",
    "false_alarm_rate": "false alarms: authentic cases called suspicious",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "detection_at_0.01": "found at 1 % false alarms",
    "detection_at_0.001": "found at 0.1 % false alarms",
    "ece": "expected calibration error",
    "brier": "Brier score",
}
CONFUSION = {
    "true_positives": "forged, called suspicious",
    "false_negatives": "forged, not called suspicious",
    "false_positives": "authentic, called suspicious",
    "true_negatives": "authentic, not called suspicious",
}
REGION = {
    "recall": "forged places that a region hits",
    "precision": "regions that hit one, of those that count",
    "f1": "F1 of regions",
    "average_precision": "average precision of all marks",
    "false_regions_a_series": "false regions a series",
    "false_regions_an_authentic_series": "false regions an authentic series",
}
PLACE = {
    "pointing": "pointing game",
    "pointing_mm": "strongest point of the slice within 24 mm of the place",
    "region_auroc": "region AUROC",
    "pixel_f1": "voxel F1 at the threshold",
    "iou": "voxel IoU at the threshold",
    "box_iou": "3D box IoU",
    "voxel_ap": "voxel average precision",
    "oracle_f1": "voxel F1 at the best threshold (oracle)",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A case that was answered wrongly, with its picture as PNG."""

    title: str
    picture: bytes


def render(
    model: str,
    figures: Mapping[str, JSON],
    plots: Mapping[str, bytes],
    examples: Sequence[Example] = (),
    failed: Sequence[Failure] = (),
    robustness: bytes | None = None,
) -> str:
    """The page. All that comes from the input is escaped.

    Args:
        model: what was judged.
        figures: as `summary.summary` gives them.
        plots: SVG by title.
        examples: the worst misses and false alarms.
        failed: cases that could not be read.
        robustness: SVG of what is left after each change; None where that was not asked for.
    """
    text = template("page.html.j2").render(
        model=model,
        figures=figures,
        plots={title: inline(svg, "svg+xml") for title, svg in plots.items()},
        examples=[(one.title, inline(one.picture, "png")) for one in examples],
        failed=failed,
        robustness=None if robustness is None else inline(robustness, "svg+xml"),
        rows=ROWS,
        confusion=CONFUSION,
        region=REGION,
        place=PLACE,
        words=words,
        version=tamperscope.__version__,
    )
    return f"{text}\n"


def inline(data: bytes, kind: str) -> str:
    """An image as the address that shows it without a second file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def template(name: str) -> Template:
    """A template of this folder, with automatic escaping; `page.css` is there for all of them to include."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_source)
    )
    environment.filters |= {"number": _number, "interval": _interval, "chance": _chance, "text": words.visible}
    return environment.get_template(name)


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _number(value: JSON) -> str:
    """Three places; "not measurable" where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not measurable"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _interval(value: JSON) -> str:
    return f"{_number(value[0])} to {_number(value[1])}" if isinstance(value, list) and len(value) == 2 else ""


def _chance(value: JSON) -> str:
    """A p-value."""
    if not isinstance(value, int | float):
        return "not measurable"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
