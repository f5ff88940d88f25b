from __future__ import annotations

import csv as standard
import io

import pytest

from tamperscope.records import Failure, Region, Report, StudyResult
from tamperscope.report import csv


def rows(report: Report) -> list[dict[str, str]]:
    return list(standard.DictReader(io.StringIO(csv.render(report), newline="")))


def test_every_report_reads_back_with_a_row_for_each_input(report):
    table = rows(report)
    assert [row["verdict"] for row in table] == [
        *(series.verdict for series in report.series),
        *["failed"] * len(report.failed),
        *["skipped"] * len(report.skipped),
    ]
    for row in table:
        assert None not in row
        assert None not in row.values()
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))


def test_golden(reports, golden):
    golden("report.csv", csv.render(reports["full"]))


def test_the_values_are_those_of_the_series(reports):
    row = rows(reports["full"])[0]
    assert (row["probability"], row["threshold"], row["false_positive_rate"]) == ("0.975", "0.62", "0.01")
    assert (row["suspicious_slices"], row["regions"]) == ("1", "2")
    assert [row[f"region_{axis}"] for axis in "kji"] == ["2", "30", "20"]
    assert [row[f"region_{axis}_mm"] for axis in "xyz"] == ["-12.5", "3.25", "-101.75"]
    assert row["region_diameter_mm"] == "7.7"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "\n@", "\u200b=", "＝", "＋", "－", "＠"])
def test_text_cannot_become_a_formula_but_numbers_stay_numbers(start, make):
    region = Region((0, 0, 0), (-1.5, 0, 0), ((0, 0, 0), (0, 0, 0)), None, 0.9)
    study = StudyResult(f"{start}1+1", None, (make["suspicious"](regions=(region,)),))
    series, failed = rows(Report(studies=(study,), failed=(Failure("x", f"{start}1", ""),)))
    assert series["source"].startswith("'")
    assert series["source"].endswith(f"{start[-1]}1+1")
    assert failed["reasons"].startswith("'")
    assert series["region_x_mm"] == "-1.5"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\x85", "\u2028", "\x00"])
def test_a_row_is_a_line(end):
    text = csv.render(Report(studies=(), failed=(Failure(f"a{end}b", "", ""),)))
    assert len(text.splitlines()) == 2


def test_what_is_not_known_is_an_empty_cell(make):
    result = make["inconclusive"](probability=float("nan"))
    (row,) = rows(Report(studies=(StudyResult("x", None, (result,)),)))
    assert {row[name] for name in ("probability", "threshold", "suspicious_slices", "region_k", "study_uid")} == {""}


def test_provenance_has_its_columns(reports):
    row, other, *_ = rows(reports["full"])
    assert (row["provenance"], row["provenance_findings"]) == (
        "broken",
        "alarm: The signature does not match the pixels.",
    )
    assert (other["provenance"], other["provenance_findings"]) == ("absent", "")
