"""From images on the disk to objects beside them, by the library and by the command."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from builders import png
from tamperscope import detectors, phantom, scan
from tamperscope.cli import app
from tamperscope.errors import UsageError
from tamperscope.report import dicom as objects

NOISE = tuple(card for card in detectors.packaged_cards() if card.file is None)
WHEN = datetime(2024, 5, 6, 7, 8, 9)


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chest")
    phantom.write_dicom(phantom.chest((2, 256, 256), (2.5, 1.4, 1.4)), folder)
    return folder


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_scan_writes_the_objects_of_each_series(chest, tmp_path):
    report = scan(chest, cards=NOISE, dicom_out=tmp_path / "new", dicom_kinds=objects.KINDS, when=WHEN)
    (series,) = report.series
    written = names(tmp_path / "new")
    assert {f"{series.name}.sr.dcm", f"{series.name}.capture.dcm"} <= set(written)
    sr = dcmread(tmp_path / "new" / f"{series.name}.sr.dcm")
    assert sr.SyntheticData == "YES", "the phantom is"
    assert sr.ContentDate == "20240506"
    again = scan([chest, tmp_path / "new"], cards=NOISE, dicom_out=tmp_path / "again", when=WHEN)
    assert len(again.series) == 1
    assert {entry.reason for entry in again.skipped} == {"a result of tamperscope"}
    name = f"{series.name}.sr.dcm"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "new" / name).read_bytes()


def test_what_is_not_dicom_is_judged_and_says_that_it_has_none(tmp_path):
    (tmp_path / "photo.png").write_bytes(png(np.zeros((20, 24), dtype=np.uint8)))
    report = scan(tmp_path / "photo.png", cards=NOISE, dicom_out=tmp_path / "out")
    (finding,) = (line for line in report.series[0].findings if line.startswith(objects.LEFT_OUT))
    assert "not DICOM" in finding
    assert names(tmp_path / "out") == []


def test_pixels_are_shown_before_they_are_judged(chest):
    seen = []
    scan(chest, cards=NOISE, decoded=seen.append)
    assert [volume.shape for volume in seen] == [(2, 256, 256)]


def test_unknown_kinds_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="movie"):
        scan(tmp_path / "absent", dicom_out=tmp_path / "out", dicom_kinds=("movie",))


# --- the command ---


def run(*words) -> object:
    return CliRunner().invoke(app, ["scan", *map(str, words)])


def test_the_command_writes_the_kinds_that_are_asked_for(chest, tmp_path):
    outcome = run(
        chest,
        "--out",
        tmp_path / "report",
        "--dicom-out",
        tmp_path / "out",
        "--dicom-kind",
        "sr",
        "--dicom-kind",
        "capture",
    )
    assert outcome.exit_code in (0, 1, 3), outcome.output
    assert [name.split(".", 1)[1] for name in names(tmp_path / "out")] == ["capture.dcm", "sr.dcm"]
    assert f"DICOM objects: {tmp_path / 'out'}" in outcome.output.replace("\n", "")


def test_the_command_says_where_there_are_none(tmp_path):
    (tmp_path / "photo.png").write_bytes(png(np.zeros((20, 24), dtype=np.uint8)))
    outcome = run(tmp_path / "photo.png", "--out", tmp_path / "report", "--dicom-out", tmp_path / "out")
    assert f"photo: {objects.LEFT_OUT}: all" in outcome.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dicom-kind", "sr"), "--dicom-out"),
        (("--dicom-out", "out", "--dicom-kind", "movie"), "unknown kind of DICOM object 'movie'"),
        (("--dicom-out", "photo.png/below"), "cannot write"),
    ],
)
def test_usage_errors_are_told(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(png(np.zeros((20, 24), dtype=np.uint8)))
    outcome = run("photo.png", *words)
    assert outcome.exit_code == 2
    assert said in outcome.output
