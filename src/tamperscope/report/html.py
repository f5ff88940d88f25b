"""The report as one HTML page that needs nothing else: no script, no network, no second file."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from tamperscope.records import Report, SeriesResult
from tamperscope.weights import Card

from . import chapters, words
from .chapters import LABELS, Imprint

SUSPICIOUS_SLICES = 50
"""Most slices that are listed for a series; the JSON report holds all."""


def render(
    report: Report, pictures: Mapping[str, bytes], cards: Sequence[Card] = (), imprint: Imprint | None = None
) -> str:
    """The report as a page.

    Args:
        report: The answer of one scan.
        pictures: PNG bytes keyed by ``SeriesResult.name``; a series without one has no picture.
        cards: Those of the models that took part; a model without one is named and no more.
        imprint: What it says of itself; that of ``report`` without date and signature if None.

    Returns:
        HTML text; all that comes from the input is escaped.
    """
    images = {name: base64.b64encode(data).decode("ascii") for name, data in pictures.items()}
    counts = {label: sum(s.verdict == label for s in report.series) for label in LABELS}
    text = _template().render(
        report=report,
        images=images,
        counts=counts,
        labels=LABELS,
        words=words,
        chapters=chapters,
        cards=cards,
        imprint=imprint or chapters.imprint(report),
    )
    return f"{text}\n"


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": _number,
        "indices": _indices,
        "text": words.visible,
        "above": _above,
        "grave": words.weighty,
    }
    source = resources.files(__package__).joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(source)


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _indices(values: tuple[float, ...] | None) -> str:
    return "–" if values is None else ", ".join(f"{v:.5g}" for v in values)


def _above(result: SeriesResult) -> list[Any]:
    """The slices that reach the threshold, strongest first."""
    if result.operating_point is None:
        return []
    found = [s for s in result.slices if s.score >= result.operating_point.threshold]
    return sorted(found, key=lambda s: (-s.score, s.index))[:SUSPICIOUS_SLICES]
