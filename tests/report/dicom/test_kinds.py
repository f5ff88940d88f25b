"""Heat map, capture, key images and presentation state, read back."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from tamperscope.records import SliceScore
from tamperscope.report import dicom as objects
from tamperscope.report import png


def back(dataset):
    return dcmread(BytesIO(objects.encoded(dataset)))


# --- heat map ---


def test_the_heat_map_comes_back_within_a_step(case):
    made = back(case.render("heatmap")["heatmap"])
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    heat = case.result.heatmap
    slices = dict(zip(zip(case.volume.sop_instance_uids, case.volume.frames, strict=True), range(99), strict=False))
    seen = set()
    for group, frame in zip(made.PerFrameFunctionalGroupsSequence, frames, strict=True):
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        k = slices[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber", 1)]
        assert np.allclose(frame / 255, heat[k], atol=0.5 / 255 + 1e-6)
        seen.add(k)
    assert seen == {k for k, plane in enumerate(heat) if plane.max() >= 0.2}


def test_a_stack_in_the_patient_is_a_map_and_the_rest_a_segmentation(case):
    made = case.render("heatmap")["heatmap"]
    placed = "FrameOfReferenceUID" in dcmread(case.series.instances[0].path)
    if placed and case.volume.geometry == "patient":
        assert made.SOPClassUID.name == "Parametric Map Storage"
        mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert mapping.RealWorldValueSlope == pytest.approx(1 / 255)
    else:
        assert (made.SegmentationType, made.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")


def test_the_strongest_slices_of_a_long_map_are_kept(scanned, make, monkeypatch):
    from tamperscope.report.dicom import heatmap

    monkeypatch.setattr(heatmap, "MOST_SLICES", 2)
    heat = np.zeros((5, 40, 48), dtype=np.float32)
    heat[:, 5, 5] = 0.3, 0.9, 0.1, 0.5, 0.4
    made = scanned(make("CT")).render("heatmap", heatmap=heat)["heatmap"]
    assert made.NumberOfFrames == 2
    assert sorted(made.pixel_array.max(axis=(1, 2))) == [128, 230]


def test_a_faint_map_or_none_is_no_object(scanned, make):
    one = scanned(make("CT"))
    for heat in (None, np.full((5, 40, 48), 0.1, dtype=np.float32), np.full((5, 40, 48), np.nan, dtype=np.float32)):
        assert "heatmap" not in one.render("heatmap", heatmap=heat)


# --- capture ---


def test_the_capture_is_the_picture_of_the_report(case):
    made = back(case.render("capture")["capture"])
    assert np.array_equal(made.pixel_array, np.asarray(png.draw(case.volume, case.result)))
    assert list(made.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert made.PhotometricInterpretation == "RGB"
    assert "not for diagnosis" in made.DerivationDescription
    assert len(made.SourceImageSequence) == 1


def test_names_burned_into_the_source_are_owned_up_to(scanned, make):
    assert scanned(make("SC", BurnedInAnnotation="YES")).render("capture")["capture"].BurnedInAnnotation == "YES"


# --- key images ---


def selected(made) -> list[tuple[str, int | None]]:
    references = [item.ReferencedSOPSequence[0] for item in made.ContentSequence if item.ValueType == "IMAGE"]
    return [(one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber")) for one in references]


def test_the_slices_to_look_at_are_selected(case):
    made = back(case.render("keys")["keys"])
    assert made.ConceptNameCodeSequence[0].CodeValue == "113000"
    uids, frames = case.volume.sop_instance_uids, case.volume.frames
    many = len(set(uids)) < len(uids)
    expected = sorted({region.centre_index[0] for region in case.result.regions} | {1 if len(uids) > 1 else 0})
    assert selected(made) == [(uids[k], frames[k] if many else None) for k in expected]


def test_the_strongest_slice_counts_even_without_a_region(scanned, make):
    one = scanned(make("CT"))
    scores = tuple(SliceScore(k, "", None, 0.9 if k == 3 else 0.1) for k in range(5))
    made = one.render("keys", regions=(), slices=scores)["keys"]
    assert selected(made) == [(one.volume.sop_instance_uids[3], None)]


# --- presentation state ---


def test_a_box_lies_round_each_region(case):
    if case.volume.voxels.ndim == 4:
        pytest.skip("colour images have none")
    made = back(case.render("presentation")["presentation"])
    boxes = {}
    for annotation in made.GraphicAnnotationSequence:
        assert len(annotation.ReferencedImageSequence) == 1
        for graphic, label in zip(annotation.GraphicObjectSequence, annotation.TextObjectSequence, strict=True):
            boxes[graphic.TrackingID] = np.array(graphic.GraphicData).reshape(-1, 2), label.UnformattedTextValue
    assert {label for _, label in boxes.values()} == {"1: 0.97", "2: 0.80"}
    for number, region in enumerate(case.result.regions, start=1):
        corners, _ = boxes[f"tamperscope region {number}"]
        (_, top, left), (_, bottom, right) = region.box_index
        assert corners.tolist()[0] == corners.tolist()[-1] == [left - 1, top - 1]
        assert corners.max(axis=0).tolist() == [right + 2, bottom + 2]


def test_the_window_is_that_of_the_picture(scanned, make):
    made = scanned(make("CT")).render("presentation")["presentation"]
    assert (made.RescaleSlope, made.RescaleIntercept) == (1, -1024)
    assert {(w.WindowCenter, w.WindowWidth) for w in made.SoftcopyVOILUTSequence} == {(-600, 1500)}


def test_frames_with_rescales_of_their_own_have_windows_of_their_own(scanned, make):
    """A presentation state has one rescale, so the windows are in stored values."""
    one = scanned(make("enhanced CT"))
    made = one.render("presentation")["presentation"]
    assert "RescaleSlope" not in made
    for window in made.SoftcopyVOILUTSequence:
        frame = window.ReferencedImageSequence[0].ReferencedFrameNumber
        assert window.WindowCenter == -600 + 1024 + (frame - 1)


def test_inverted_films_stay_inverted(scanned, make):
    film = scanned(make("CR", PhotometricInterpretation="MONOCHROME1"))
    assert film.render("presentation")["presentation"].PresentationLUTShape == "INVERSE"


def test_a_region_at_the_border_stays_inside(scanned, make):
    one = scanned(make("CR"))
    edge = replace(one.result.regions[1], box_index=((0, 0, 0), (0, 39, 47)))
    made = one.render("presentation", regions=(edge,))["presentation"]
    data = made.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicData
    assert (min(data), max(data)) == (0, 48)
