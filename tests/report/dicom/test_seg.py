"""Masks come back voxel by voxel, read by highdicom and by the references of each frame."""

from __future__ import annotations

import warnings
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import dcmread

from tamperscope.records import Region
from tamperscope.report import dicom as objects

PLACES = {
    "as they are": {},
    "no frame of reference": {"FrameOfReferenceUID": None, "PositionReferenceIndicator": None},
    "one place": {"ImagePositionPatient": [0.0, 0.0, 7.0]},
    "no place": {"ImagePositionPatient": None},
}


def truth(scanned, number: int) -> np.ndarray:
    """Mask of a region on the whole volume."""
    region = scanned.result.regions[number - 1]
    whole = np.zeros(scanned.volume.shape, dtype=bool)
    box = tuple(slice(a, b + 1) for a, b in zip(*region.box_index, strict=True))
    whole[box] = True if region.mask is None else region.mask
    return whole


def read(dataset) -> Segmentation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom's, where frames have no place
        return Segmentation.from_dataset(dcmread(BytesIO(objects.encoded(dataset))))


def by_references(seg: Segmentation, scanned) -> np.ndarray:
    """(segments, D, H, W): each frame put where its reference to the source says."""
    slices = dict(
        zip(zip(scanned.volume.sop_instance_uids, scanned.volume.frames, strict=True), range(999), strict=False)
    )
    masks = np.zeros((len(seg.SegmentSequence), *scanned.volume.shape), dtype=bool)
    shared = seg.SharedFunctionalGroupsSequence[0]
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        segment = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence[0]
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        k = slices[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber", 1)]
        assert frame.any(), "no frame is empty"
        masks[segment.ReferencedSegmentNumber - 1, k] = frame
    return masks


def by_highdicom(seg: Segmentation, scanned) -> np.ndarray:
    """(segments, D, H, W) as highdicom finds them by the source."""
    options = {"ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
    uids, frames = scanned.volume.sop_instance_uids, scanned.volume.frames
    if len(set(uids)) < len(uids):
        found = seg.get_pixels_by_source_frame(uids[0], list(frames), **options)
    else:
        found = seg.get_pixels_by_source_instance(list(uids), **options)
    return np.moveaxis(found, -1, 0).astype(bool)


def assert_exact(scanned):
    seg = read(scanned.render("seg")["seg"])
    expected = np.stack([truth(scanned, number) for number in range(1, len(scanned.result.regions) + 1)])
    assert np.array_equal(by_references(seg, scanned), expected)
    assert np.array_equal(by_highdicom(seg, scanned), expected)


def test_masks_come_back_exactly(case):
    assert_exact(case)


@pytest.mark.parametrize("values", PLACES.values(), ids=PLACES)
def test_masks_come_back_wherever_the_slices_lie(scanned, make, values):
    assert_exact(scanned(make("CT", **values)))


def test_overlapping_regions_do_not_hide_each_other(scanned, make):
    one = scanned(make("CT"))
    first = one.result.regions[0]
    over = replace(first, mask=~first.mask | (first.mask & (np.indices(first.mask.shape).sum(0) % 2 == 0)))
    assert_exact(replace(one, result=replace(one.result, regions=(first, over))))


def test_twenty_regions_are_twenty_segments(scanned, make):
    one = scanned(make("CT"))
    spots = tuple(Region((k % 5, k, k), None, ((k % 5, k, k), (k % 5, k + 1, k)), None, 0.9) for k in range(0, 40, 2))
    spots = tuple(replace(s, box_index=(s.box_index[0], s.box_index[0])) for s in spots)
    one = replace(one, result=replace(one.result, regions=spots))
    assert_exact(one)
    assert len(one.render("seg")["seg"].SegmentSequence) == 20


def test_a_stack_keeps_its_place_and_a_loop_has_none(scanned, make):
    stack = scanned(make("CT")).render("seg")["seg"]
    assert stack.FrameOfReferenceUID == "1.2.826.0.1.7.2"
    heights = [
        group.PlanePositionSequence[0].ImagePositionPatient[2] for group in stack.PerFrameFunctionalGroupsSequence
    ]
    assert set(heights) == {2.5, 5.0, 7.5, 10.0}
    loop = scanned(make("US"), "loop").render("seg")["seg"]
    assert "FrameOfReferenceUID" not in loop
    assert not any("PlanePositionSequence" in group for group in loop.PerFrameFunctionalGroupsSequence)
    assert "PixelMeasuresSequence" not in loop.SharedFunctionalGroupsSequence[0]


def test_slices_in_one_place_say_so(scanned, make):
    made = scanned(make("CT", **PLACES["one place"])).render("seg")["seg"]
    heights = {
        float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in made.PerFrameFunctionalGroupsSequence
    }
    assert heights == {7.0}


def test_segments_name_the_algorithm(scanned, make):
    one = scanned(make("CT"))
    for segment in one.render("seg")["seg"].SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert "threshold on the calibrated probability=0.6" in algorithm.AlgorithmParameters
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99TAMPERSCOPE"
