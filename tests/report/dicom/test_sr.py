"""The report reads back as TID 1500."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import dcmread

from tamperscope.records import Finding, Provenance
from tamperscope.report import dicom as objects
from tamperscope.report.dicom import codes


def read(one, *kinds: str, **changes):
    made = one.render(*kinds, **changes)
    return Comprehensive3DSR.from_dataset(dcmread(BytesIO(objects.encoded(made["sr"])))), made


def numbers(group) -> dict[str, float]:
    return {measurement.name.value: measurement.value for measurement in group.get_measurements()}


def answers(group) -> dict[str, str]:
    """Of the private scheme; highdicom counts the algorithm's family among them."""
    found = group.get_qualitative_evaluations()
    return {one.name.value: one.value.value for one in found if one.name.scheme_designator == codes.SCHEME}


def texts(group, code) -> list[str]:
    return [item.value for item in group[0].ContentSequence if item.name == code and item.ValueType == "TEXT"]


def test_verdict_probability_and_rates_come_back(case):
    report, _ = read(case)
    (series,) = report.content.get_image_measurement_groups()
    assert answers(series) == {"TS100": "TS101", "TS140": "TS142"}
    assert numbers(series) == {"122157": 0.97, "TS110": 0.6, "TS111": 0.01, "TS112": 0.25}
    said = texts(series, codes.REASON)
    assert "2 places differ – ungewöhnlich" in said
    assert "Research use only, not for diagnosis" in said
    assert len(series.source_images) == len(case.series.instances)


def test_regions_come_back(case):
    report, made = read(case)
    stack = case.volume.shape[0] > 1 and "FrameOfReferenceUID" in dcmread(case.series.instances[0].path)
    planar, solid = (
        report.content.get_planar_roi_measurement_groups(),
        report.content.get_volumetric_roi_measurement_groups(),
    )
    groups = solid if stack else planar
    assert (len(planar), len(solid)) == ((0, 2) if stack else (2, 0))
    for number, (group, region) in enumerate(zip(groups, case.result.regions, strict=True), start=1):
        assert group.tracking_identifier == f"tamperscope region {number}"
        assert group.tracking_uid == made["seg"].SegmentSequence[number - 1].TrackingUID
        assert group.finding_type == codes.MANIPULATION
        found = numbers(group)
        assert found["122157"] == pytest.approx(region.score)
        assert found.get("81827009") == region.diameter_mm
        centre = [found.get(name) for name in ("TS130", "TS131", "TS132")]
        if region.centre_mm is None:
            assert (found["TS133"], found["TS134"]) == (region.centre_index[2] + 0.5, region.centre_index[1] + 0.5)
        else:
            assert centre == pytest.approx(region.centre_mm)
        if stack:
            assert group.referenced_segment.referenced_sop_instance_uid == made["seg"].SOPInstanceUID
            assert group.referenced_segment.referenced_segment_numbers == [number]
        else:
            corners = group.roi.value
            (_, top, left), (_, bottom, right) = region.box_index
            assert np.all(corners.min(axis=0) <= [left, top])
            assert np.all(corners.max(axis=0) >= [right + 1, bottom + 1])


def test_a_frame_of_a_loop_is_named(scanned, make):
    report, _ = read(scanned(make("US")))
    frames = [
        item.ReferencedSOPSequence[0].ReferencedFrameNumber
        for group in report.content.get_planar_roi_measurement_groups()
        for item in group.roi.ContentSequence
    ]
    assert frames == [1 + 1, 4 + 1]


def test_without_a_segmentation_the_outline_is_in_the_report(scanned, make):
    one = scanned(make("CT"))
    report, made = read(one, "sr")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [len(group.roi) for group in groups] == [3, 1]
    assert made["sr"].SOPInstanceUID != one.render()["sr"].SOPInstanceUID, "other content, another object"


def test_nobody_verified_it(scanned, make):
    report, _ = read(scanned(make("CR")))
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )


def test_the_observer_is_the_device(scanned, make):
    report, _ = read(scanned(make("MR")))
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.uid == report.DeviceUID


def test_each_group_names_the_algorithm(scanned, make):
    report, _ = read(scanned(make("CT")))
    groups = [*report.content.get_image_measurement_groups(), *report.content.get_volumetric_roi_measurement_groups()]
    for group in groups:
        parameters = [item.value for item in group[0].ContentSequence if item.name.value == "111002"]
        assert [text.split(" ")[0] for text in parameters] == ["weights", "calibration", "threshold", "false"]


def test_hostile_reasons_are_harmless(scanned, make):
    reasons = ("\u202e\x1b[31m" + "x" * 9000, "\ud800")
    report, _ = read(scanned(make("CR")), reasons=reasons)
    (series,) = report.content.get_image_measurement_groups()
    assert not any(set(said) & set("\u202e\x1b\ud800") for said in texts(series, codes.REASON))


@pytest.mark.parametrize("modality", ["CT", "MR", "CR", "MG", "US", "OT", ""])
def test_the_procedure_is_that_of_the_imaging(modality):
    assert codes.procedure(modality).scheme_designator in ("LN", "SCT")


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")
def test_another_program_reads_it(case, tmp_path):
    objects.write(case.render("sr", "seg"), tmp_path, "x")
    run = subprocess.run(["dsrdump", str(tmp_path / "x.sr.dcm")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Suspicious: signs of tampering found" in run.stdout
    assert not [line for line in run.stderr.splitlines() if line.startswith("E:")]


def test_a_broken_signature_comes_first(case):
    found = Finding("signature", "alarm", "It was changed.", "PS3.15 C.1", (case.volume.sources[0],))
    report, made = read(
        case, "sr", "keys", provenance=Provenance("broken", (found,)), verdict="no_evidence", regions=()
    )
    (series,) = report.content.get_image_measurement_groups()
    assert answers(series) == {"TS100": "TS102", "TS140": "TS143"}
    said = texts(series, codes.REASON)
    assert said[0].startswith("CHANGED SINCE IT WAS SIGNED")
    assert "It was changed." in said
    assert made["keys"], "the slice to look at"
