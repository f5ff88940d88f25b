"""The report as JSON: schema ``tamperscope/report/1``, published in ``report.schema.json`` beside this file."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from importlib import resources
from typing import Any

from tamperscope.errors import UnreadableError
from tamperscope.records import (
    JSON,
    SCHEMA,
    Evidence,
    Failure,
    Finding,
    ModelInfo,
    OperatingPoint,
    Provenance,
    Region,
    Report,
    SeriesResult,
    Skipped,
    SliceScore,
    StudyResult,
)

from .nifti import SUFFIX
from .words import clean


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every report obeys."""
    text = resources.files(__package__).joinpath("report.schema.json").read_text("utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def render(report: Report, *, heatmaps: Collection[str] = ()) -> str:
    """The report as JSON text. The same report gives the same bytes; numbers keep six significant digits.

    Args:
        report: The answer of one scan.
        heatmaps: Names of the series whose heat map was written; the others have ``"heatmap": null``.
    """
    tree: JSON = {
        "schema": report.schema,
        "tool": {"version": report.version},
        "models": [{"name": m.name, "sha256": m.sha256} for m in report.models],
        "studies": [_study(s, heatmaps) for s in report.studies],
        "failed": [{"source": f.source, "error": f.error, "hint": f.hint} for f in report.failed],
        "skipped": [{"source": s.source, "reason": s.reason} for s in report.skipped],
    }
    return json.dumps(_cleaned(tree), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _study(study: StudyResult, heatmaps: Collection[str]) -> JSON:
    return {
        "source": study.source,
        "study_uid": study.study_uid,
        "series": [_series(s, heatmaps) for s in study.series],
    }


def _series(result: SeriesResult, heatmaps: Collection[str]) -> JSON:
    return {
        "name": result.name,
        "series_uid": result.series_uid,
        "modality": result.modality,
        "files": list(result.files),
        "shape": [int(n) for n in result.shape],
        "spacing_mm": _numbers(result.spacing_mm),
        "verdict": result.verdict,
        "probability": _number(result.probability),
        "operating_point": _operating_point(result.operating_point),
        "slices": [_slice(s) for s in result.slices],
        "regions": [_region(r) for r in result.regions],
        "evidence": [_evidence(e) for e in result.evidence],
        "provenance": {
            "state": result.provenance.state,
            "findings": [_finding(f) for f in result.provenance.findings],
        },
        "heatmap": f"{result.name}{SUFFIX}" if result.name in heatmaps else None,
        "reasons": list(result.reasons),
        "digest": result.digest,
        "file_digests": list(result.file_digests),
        "findings": list(result.findings),
    }


def _operating_point(point: OperatingPoint | None) -> JSON:
    if point is None:
        return None
    return {
        "false_positive_rate": _number(point.false_positive_rate),
        "threshold": _number(point.threshold),
        "miss_rate": _number(point.miss_rate),
    }


def _slice(score: SliceScore) -> JSON:
    return {
        "index": int(score.index),
        "file": score.file,
        "sop_instance_uid": score.sop_instance_uid,
        "score": _number(score.score),
    }


def _region(region: Region) -> JSON:
    return {
        "centre_index": [int(v) for v in region.centre_index],
        "centre_mm": _numbers(region.centre_mm),
        "box_index": [[int(v) for v in corner] for corner in region.box_index],
        "diameter_mm": _number(region.diameter_mm),
        "score": _number(region.score),
    }


def _finding(finding: Finding) -> JSON:
    return {
        "check": finding.check,
        "severity": finding.severity,
        "text": finding.text,
        "clause": finding.clause,
        "files": list(finding.files),
    }


def _evidence(evidence: Evidence) -> JSON:
    return {
        "detector": evidence.detector,
        "score": _number(evidence.score),
        "probability": _number(evidence.probability),
        "reasons": list(evidence.reasons),
    }


def _cleaned(tree: JSON) -> JSON:
    """The same tree with text that can be encoded."""
    if isinstance(tree, str):
        return clean(tree)
    if isinstance(tree, list):
        return [_cleaned(branch) for branch in tree]
    return {key: _cleaned(branch) for key, branch in tree.items()} if isinstance(tree, dict) else tree


def _numbers(values: Iterable[float] | None) -> JSON:
    return None if values is None else [_number(v) for v in values]


def _number(value: float | None) -> JSON:
    """Six significant digits; None for what JSON cannot say (RFC 8259 section 6 has no NaN and no infinity)."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}") + 0.0  # the sum makes 0.0 of -0.0


def parse(text: str) -> Report:
    """Read a report back. Heat maps and the detectors' slice scores are not part of the text.

    Raises:
        UnreadableError: not JSON, of another schema, or a part is missing.
    """
    try:
        tree = json.loads(text)
        if tree["schema"] != SCHEMA:
            raise UnreadableError(f"the report has schema {tree['schema']!r}", hint=f"this version reads {SCHEMA}")
        return Report(
            studies=tuple(_parse_study(s) for s in tree["studies"]),
            failed=tuple(Failure(**f) for f in tree["failed"]),
            skipped=tuple(Skipped(**s) for s in tree["skipped"]),
            models=tuple(ModelInfo(**m) for m in tree["models"]),
            version=tree["tool"]["version"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "give a report.json that tamperscope scan has written"
        raise UnreadableError(f"not a report: {type(error).__name__} {error}", hint=hint) from error


def _parse_study(tree: dict[str, Any]) -> StudyResult:
    return StudyResult(tree["source"], tree["study_uid"], tuple(_parse_series(s) for s in tree["series"]))


def _parse_series(tree: dict[str, Any]) -> SeriesResult:
    point, provenance = tree["operating_point"], tree["provenance"]
    return SeriesResult(
        series_uid=tree["series_uid"],
        modality=tree["modality"],
        files=tuple(tree["files"]),
        shape=_triple(tree["shape"]),
        spacing_mm=_triple(tree["spacing_mm"]),
        verdict=tree["verdict"],
        probability=tree["probability"],
        operating_point=_parse_point(point),
        slices=tuple(SliceScore(**{**s, "score": _nan(s["score"])}) for s in tree["slices"]),
        regions=tuple(_parse_region(r) for r in tree["regions"]),
        evidence=tuple(Evidence(**{**e, "reasons": tuple(e["reasons"])}) for e in tree["evidence"]),
        provenance=Provenance(provenance["state"], tuple(_parse_finding(f) for f in provenance["findings"])),
        reasons=tuple(tree["reasons"]),
        digest=tree["digest"],
        file_digests=tuple(tree["file_digests"]),
        findings=tuple(tree["findings"]),
        name=tree["name"],
    )


def _parse_finding(tree: dict[str, Any]) -> Finding:
    return Finding(**{**tree, "files": tuple(tree["files"])})


def _parse_point(tree: dict[str, Any] | None) -> OperatingPoint | None:
    if tree is None:
        return None
    return OperatingPoint(_nan(tree["false_positive_rate"]), _nan(tree["threshold"]), tree["miss_rate"])


def _parse_region(tree: dict[str, Any]) -> Region:
    first, last = tree["box_index"]
    return Region(
        centre_index=_triple(tree["centre_index"]),
        centre_mm=_triple(tree["centre_mm"]),
        box_index=(_triple(first), _triple(last)),
        diameter_mm=tree["diameter_mm"],
        score=_nan(tree["score"]),
    )


def _triple(values: list[Any] | None) -> Any:
    if values is None:
        return None
    first, second, third = values
    return first, second, third


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
