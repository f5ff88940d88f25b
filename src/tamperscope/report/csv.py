"""The report as a table: one row a series, then one row for each input that failed or was skipped."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TypeAlias

from tamperscope.records import Report, SeriesResult, StudyResult

from .words import visible, weighty

Cell: TypeAlias = str | int | float | None

COLUMNS = (
    "source",
    "study_uid",
    "series_uid",
    "modality",
    "verdict",
    "probability",
    "threshold",
    "false_positive_rate",
    "miss_rate",
    "suspicious_slices",
    "regions",
    "region_k",
    "region_j",
    "region_i",
    "region_x_mm",
    "region_y_mm",
    "region_z_mm",
    "region_diameter_mm",
    "reasons",
    "provenance",
    "provenance_findings",
)
"""The header. ``region_*`` is the centre of the first region: voxel index, then millimetres in LPS; of the
findings those that are more than notes."""


def render(report: Report) -> str:
    """The report as CSV (RFC 4180, but lines end in LF): UTF-8 text, numbers of six digits, empty where unknown."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return stream.getvalue()


def _rows(report: Report) -> Iterator[dict[str, Cell]]:
    for study in report.studies:
        for result in study.series:
            yield _series(study, result)
    for failure in report.failed:
        reasons = "; ".join(part for part in (failure.error, failure.hint) if part)
        yield {"source": failure.source, "verdict": "failed", "reasons": reasons}
    for skipped in report.skipped:
        yield {"source": skipped.source, "verdict": "skipped", "reasons": skipped.reason}


def _series(study: StudyResult, result: SeriesResult) -> dict[str, Cell]:
    point = result.operating_point
    row: dict[str, Cell] = {
        "source": study.source,
        "study_uid": study.study_uid,
        "series_uid": result.series_uid,
        "modality": result.modality,
        "verdict": result.verdict,
        "probability": result.probability,
        "threshold": point.threshold if point else None,
        "false_positive_rate": point.false_positive_rate if point else None,
        "miss_rate": point.miss_rate if point else None,
        "suspicious_slices": sum(s.score >= point.threshold for s in result.slices) if point else None,
        "regions": len(result.regions),
        "reasons": "; ".join(result.reasons),
        "provenance": result.provenance.state,
        "provenance_findings": "; ".join(f"{one.severity}: {one.text}" for one in weighty(result)),
    }
    if result.regions:
        first = result.regions[0]
        row |= dict(zip(("region_k", "region_j", "region_i"), first.centre_index, strict=True))
        if first.centre_mm is not None:
            row |= dict(zip(("region_x_mm", "region_y_mm", "region_z_mm"), first.centre_mm, strict=True))
        row["region_diameter_mm"] = first.diameter_mm
    return row


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return _guarded(visible(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _guarded(text: str) -> str:
    """Text that a spreadsheet will not run: an apostrophe before what it would take for a formula (CWE-1236)."""
    return f"'{text}" if text.lstrip(" �").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text
