"""Series of one reading that claim the same: forgers copy headers, scanners reconstruct twice."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from builders import pixels, to_bytes
from studies import image
from tamperscope import read, scan
from tamperscope.decode import decode
from tamperscope.detectors.provenance import Kin, clones, examine
from tamperscope.limits import DEFAULT_LIMITS

ROOT = "1.2.826.0.1.9"


def series(number: int = 0, count: int = 4, seed: int = 0, fraction: str = ".123456", **values) -> list[bytes]:
    """A series whose slices have times of their own; ``number`` makes another one of the same times."""
    made = []
    for index in range(count):
        one = image("CT", pixels(8, 8, seed=seed + index), index)
        one.AcquisitionTime = one.ContentTime = f"12000{index}{fraction}"
        one.ConvolutionKernel, one.SeriesDescription = "B30f", "chest"
        if number:
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.{number}.{index}"
            one.SeriesInstanceUID, one.SeriesNumber = f"{ROOT}.{number}", number + 1
        for word, value in values.items():
            setattr(one, word, value)
        made.append(to_bytes(one))
    return made


def found(*files: bytes):
    """(check, severity, state) of each series of a reading, of clones alone."""
    studies = read(list(files)).studies
    kin = Kin.of(studies)
    return [
        [
            (one.finding.check, one.finding.severity, one.state)
            for one in clones.check(series, kin.to(series), DEFAULT_LIMITS)
        ]
        for study in studies
        for series in study.series
    ]


CLONE, DOUBTFUL = [("header-clone", "warning", "contradictory")], [("header-clone", "warning", "absent")]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"PatientName": "Another^One", "PatientID": "2", "StudyInstanceUID": f"{ROOT}.77", "StudyDate": "20210101"},
        {"WindowCenter": 40, "WindowWidth": 400, "InstanceCreationTime": "130000", "FrameOfReferenceUID": f"{ROOT}.5"},
    ],
    ids=str,
)
def test_a_header_under_other_pixels_contradicts_the_first(other):
    assert found(*series(), *series(1, seed=50, **other)) == [CLONE, CLONE]


@pytest.mark.parametrize(
    "other",
    [
        {"ConvolutionKernel": "B70f"},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
        {"SliceThickness": 5},
        {"XRayTubeCurrent": 100},
        {"LossyImageCompression": "01"},
        {"AcquisitionTime": "130000.5"},
        {"Manufacturer": "Other"},
    ],
    ids=str,
)
def test_what_explains_other_pixels_is_no_clone(other):
    assert found(*series(), *series(1, seed=50, **other)) == [[], []]


def test_copies_and_strangers_are_no_clones():
    assert found(*series(), *series(1)) == [[], []], "the same pixels: archived twice"
    assert found(*series(fraction=""), *series(1, seed=50, fraction="")) == [[], []], "whole seconds are no fingerprint"
    assert found(*series(fraction=".0"), *series(1, seed=50, fraction=".0")) == [[], []]


def test_doubt_is_a_warning():
    described = series(1, seed=50, SeriesDescription="chest, other")
    assert found(*series(), *described) == [DOUBTFUL, DOUBTFUL]
    assert found(*series(count=2), *series(1, count=2, seed=50)) == [DOUBTFUL, DOUBTFUL]


def with_items(number: int, seed: int, value: str, private: str | None = None) -> list[bytes]:
    step = Dataset()
    step.CodeValue, step.ReferencedSOPInstanceUID = value, f"{ROOT}.{number}.99"
    made = []
    for index in range(4):
        one = image("CT", pixels(8, 8, seed=seed + index), index, AcquisitionContextSequence=Sequence([step]))
        one.ContentTime = f"12000{index}.5"
        one.SOPInstanceUID, one.SeriesInstanceUID = f"{ROOT}.{number}.{index}", f"{ROOT}.{number}"
        if private:
            one.private_block(0x0053, "MAKER", create=True).add_new(0x40, "LO", private)
        made.append(to_bytes(one))
    return made


def test_items_and_private_elements_count():
    assert found(*with_items(1, 0, "A"), *with_items(2, 50, "A")) == [CLONE, CLONE]
    assert found(*with_items(1, 0, "A"), *with_items(2, 50, "B")) == [[], []]
    assert found(*with_items(1, 0, "A", "30%"), *with_items(2, 50, "A", "60%")) == [[], []]
    assert found(*with_items(1, 0, "A", "30%"), *with_items(2, 50, "A")) == [DOUBTFUL, DOUBTFUL]


def test_one_series_uid_in_two_studies():
    studies = [series(), series(1, seed=50, StudyInstanceUID=f"{ROOT}.77", SeriesInstanceUID="1.2.826.0.1.7.1.1")]
    expected = [("uid-series", "warning", "contradictory"), *CLONE]
    assert found(*studies[0], *studies[1]) == [expected, expected]


def test_one_sop_instance_uid_with_other_pixels_contradicts_and_with_the_same_does_not():
    conflict = [("uid-conflict", "warning", "contradictory")]
    (seen,) = found(*series(), *series(seed=50))
    assert seen == conflict * 4
    assert found(*series(), *series(PatientName="Corrected^Name")) == [[]]
    (seen,) = found(*series(), *series(seed=50, LossyImageCompression="01"))
    assert seen == [("uid-conflict", "warning", "absent")] * 4


def test_a_scan_of_both_says_so_and_names_the_files(tmp_path):
    for number, one in enumerate((*series(), *series(1, seed=50))):
        (tmp_path / f"{number}.dcm").write_bytes(one)
    report = scan(tmp_path, cards=())
    assert [one.provenance.state for one in report.series] == ["contradictory"] * 2
    for one in report.series:
        (finding,) = [finding for finding in one.provenance.findings if finding.check == "header-clone"]
        assert finding.files == (), "all of them"
        assert "Secret" not in finding.text


def test_a_file_that_is_gone_stops_nothing(tmp_path):
    for number, one in enumerate((*series(), *series(1, seed=50))):
        (tmp_path / f"{number}.dcm").write_bytes(one)
    first, second = read(tmp_path).studies[0].series
    volume = decode(first)
    (tmp_path / "4.dcm").unlink()
    assert "unchecked" in [one.check for one in examine(first, volume, kin=[second]).findings]


def test_slices_of_one_time_are_noted():
    (one,) = read(series(ContentTime="120000.5")).studies[0].series
    told = examine(one, decode(one)).findings
    assert ("time-shared", "note") in [(finding.check, finding.severity) for finding in told]
    for values in ({}, {"ContentTime": "120000"}, {"ContentTime": "120000.5", "ImageType": ["DERIVED", "PRIMARY"]}):
        (one,) = read(series(**values)).studies[0].series
        assert "time-shared" not in [finding.check for finding in examine(one, decode(one)).findings]
