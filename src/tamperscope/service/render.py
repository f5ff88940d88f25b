"""Templates to pages: how times, sizes, verdicts and states are written."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tamperscope
from tamperscope.report import picture, words
from tamperscope.report.chapters import LABELS

STATES = {
    "gathering": "Gathering",
    "waiting": "Waiting",
    "running": "Running",
    "done": "Done",
    "failed": "Failed",
}
OPINIONS = {"tampered": "Tampered", "authentic": "Authentic", "unsure": "Unsure"}
STOPS = 11
"""Colours of the legend, evenly spaced from 0 to 1."""


def page(template: str, **values: Any) -> str:
    """One template as HTML; all that comes from outside is escaped."""
    return _environment().get_template(f"{template}.html.j2").render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "text": words.visible, "bytes": size, "time": time, "plain": plain}
    environment.globals |= {
        "words": words,
        "labels": LABELS,
        "states": STATES,
        "opinions": OPINIONS,
        "version": tamperscope.__version__,
        "legend": legend(),
    }
    return environment


def legend() -> list[tuple[float, str]]:
    """The colours of the heat map as (probability, "#rrggbb"), for the legend and the viewer alike."""
    values = np.linspace(0, 1, STOPS, dtype=np.float32)
    found = picture.colours(values)
    return [(round(float(value), 2), f"#{r:02x}{g:02x}{b:02x}") for value, (r, g, b) in zip(values, found, strict=True)]


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def size(count: int) -> str:
    """Bytes in decimal units, as disks and networks count them."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def time(seconds: float | None) -> Markup:
    """Seconds since 1970 as a time element in UTC, which the page's script turns into the reader's own time."""
    if seconds is None:
        return Markup("–")
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(  # the arguments are escaped by Markup.format
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M UTC")
    )


def plain(value: Any) -> str:
    """A figure of a Card for people: a list says how many it holds, a number has no needless digits."""
    if isinstance(value, list):
        return f"{len(value)}: {', '.join(plain(entry) for entry in value)}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
