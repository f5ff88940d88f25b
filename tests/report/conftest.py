"""Hand-built reports.

The golden files are written anew with ``TAMPERSCOPE_UPDATE_GOLDEN=1 pytest tests/report``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.records import (
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

HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script> \"&amp; {{7*7}} \u202e\x1b[31m\ud800.dcm\n\t,;"
POINT = OperatingPoint(0.01, 0.62, 0.25)


def series(**changes) -> SeriesResult:
    facts = {
        "series_uid": "2.25.11",
        "modality": "CT",
        "files": ("ct/1.dcm", "ct/2.dcm", "ct/3.dcm"),
        "shape": (3, 64, 48),
        "spacing_mm": (2.5, 0.7, 0.7000001),
        "verdict": "no_evidence",
        "probability": 0.0312345678,
        "operating_point": POINT,
        "slices": tuple(SliceScore(k, f"ct/{k + 1}.dcm", f"2.25.11.{k}", 0.01 + k / 3) for k in range(3)),
        "regions": (),
        "evidence": (Evidence("residual-noise", -0.25, 0.03),),
        "provenance": Provenance("absent"),
        "reasons": (),
        "digest": "ab" * 32,
        "file_digests": ("01" * 32, "02" * 32, "03" * 32),
        "findings": (),
        "name": "ct-11",
    }
    return SeriesResult(**{**facts, **changes})


def suspicious(**changes) -> SeriesResult:
    regions = (
        Region((2, 30, 20), (-12.5, 3.25, -101.75), ((1, 25, 16), (2, 35, 24)), 7.7, 0.97),
        Region((2, 5, 40), None, ((2, 4, 39), (2, 6, 41)), None, 0.7),
    )
    facts = {
        "verdict": "suspicious",
        "probability": 0.974999999,
        "regions": regions,
        "evidence": (
            Evidence("noise-map", 4.123456789, 0.97, reasons=("noise of 2 slices is too smooth",)),
            Evidence("frequency", None, None, reasons=("needs slices thinner than 3 mm",)),
        ),
        "provenance": Provenance(
            "broken", (Finding("signature", "alarm", "The signature does not match the pixels.", "PS3.15 C.1"),)
        ),
        "reasons": ("noise of 2 slices is too smooth", "shape – ungewöhnlich"),
        "findings": ("one slice is missing between 2 and 3",),
        "name": "ct-12",
        "series_uid": "2.25.12",
    }
    return series(**{**facts, **changes})


def inconclusive(**changes) -> SeriesResult:
    facts = {
        "series_uid": None,
        "modality": "OT",
        "files": ("scan.png",),
        "shape": (1, 20, 30),
        "spacing_mm": None,
        "verdict": "inconclusive",
        "probability": None,
        "operating_point": None,
        "slices": (),
        "evidence": (),
        "reasons": ("no model accepts modality OT.",),
        "digest": "",
        "file_digests": (),
        "name": "scan",
    }
    return series(**{**facts, **changes})


def hostile() -> SeriesResult:
    return suspicious(
        series_uid=HOSTILE,
        modality=HOSTILE,
        files=(HOSTILE,),
        file_digests=("04" * 32,),
        slices=(SliceScore(0, HOSTILE, HOSTILE, 0.9), SliceScore(1, "", None, float("nan"))),
        evidence=(Evidence(HOSTILE, float("inf"), float("nan"), reasons=(HOSTILE,)),),
        provenance=Provenance("contradictory", (Finding("header", "warning", HOSTILE, HOSTILE, (HOSTILE,)),)),
        reasons=(HOSTILE,),
        findings=(HOSTILE,),
        name="hostile",
    )


REPORTS = {
    "full": Report(
        studies=(
            StudyResult("ct", "2.25.1", (suspicious(), series())),
            StudyResult("scan.png", None, (inconclusive(),)),
        ),
        failed=(Failure("broken.dcm", "the file ends after 12 bytes", "copy it again"),),
        skipped=(Skipped("ct/report.dcm", "a structured report, not an image"),),
        models=(ModelInfo("ct-noise-1", "cd" * 32),),
        version="1.2.3",
    ),
    "empty": Report(studies=()),
    "failed": Report(studies=(), failed=(Failure("a", "b", ""), Failure("-1", "=1", "+1")), version="1"),
    "inconclusive": Report(studies=(StudyResult("scan.png", None, (inconclusive(),)),), version="1"),
    "hostile": Report(
        studies=(StudyResult(HOSTILE, HOSTILE, (hostile(),)),),
        failed=(Failure(HOSTILE, HOSTILE, HOSTILE),),
        skipped=(Skipped(HOSTILE, HOSTILE),),
        models=(ModelInfo(HOSTILE, HOSTILE),),
        version=HOSTILE,
    ),
}


@pytest.fixture(params=list(REPORTS))
def report(request: pytest.FixtureRequest) -> Report:
    """Each of the reports that every format must survive."""
    return REPORTS[request.param]


@pytest.fixture
def reports() -> dict[str, Report]:
    return REPORTS


@pytest.fixture
def make():
    """Builders of single series by the name of their verdict."""
    return {"suspicious": suspicious, "no_evidence": series, "inconclusive": inconclusive}


@pytest.fixture(scope="session")
def volume():
    """CT of (3, 64, 48) voxels."""
    return phantom.chest((3, 64, 48), (2.5, 0.7, 0.7), np.random.default_rng(0))


@pytest.fixture
def golden():
    """Compare a text with the stored one of this name, byte for byte."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("TAMPERSCOPE_UPDATE_GOLDEN"):
            path.write_bytes(text.encode())
        assert path.read_bytes() == text.encode()

    return compare
