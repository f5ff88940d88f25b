"""The answer as a Comprehensive 3D SR (PS3.3 A.35.13) of template TID 1500, UNVERIFIED.

One group for the series (TID 1501): verdict, probability, error rates, reasons. One for each region: TID 1411 with its
segment where the series is a stack in the patient, TID 1410 with its outline in a single image. Each names the
algorithm (TID 4019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from tamperscope.records import Region
from tamperscope.report import words

from . import codes, content, presentation, seg
from .content import concept
from .identity import Case

KIND = "sr"
MOST_TEXT = 4096
"""Characters of one reason; UT allows more than anybody reads."""


def render(case: Case, segmentation: Dataset | None) -> Dataset:
    """The report.

    Args:
        case: the series.
        segmentation: the object of kind "seg" that goes out with it, whose segments are then referred to.
    """
    groups = [_series(case)]
    for number, region in enumerate(case.result.regions, start=1):
        groups.append(_region(case, number, region, segmentation))
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=content.device(case)),
        procedure_reported=codes.procedure(case.volume.modality),
        imaging_measurements=groups,
    )
    sources = case.sources
    evidence = [sources.instance_stand_in(index) for index in range(len(sources.instances))]
    evidence += [sources.slice_stand_in(k) for k in range(case.volume.shape[0])]
    made = Comprehensive3DSR(
        evidence=[*evidence, *([] if segmentation is None else [segmentation])],
        content=report[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        **case.made(KIND, variant="" if segmentation is None else "with segmentation"),
    )
    return case.finish(made, KIND)


def _series(case: Case) -> MeasurementsAndQualitativeEvaluations:
    result = case.result
    indices = range(len(case.sources.instances))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(case.uid("series finding"), "tamperscope series"),
        algorithm_id=_algorithm(case),
        measurements=_rates(case),
        qualitative_evaluations=[
            QualitativeEvaluation(concept(codes.VERDICT), concept(codes.VERDICTS[result.verdict])),
            QualitativeEvaluation(concept(codes.PROVENANCE), concept(codes.PROVENANCES[result.provenance.state])),
        ],
        source_images=[
            SourceImageForMeasurementGroup(one.SOPClassUID, one.SOPInstanceUID)
            for one in (case.sources.instance_stand_in(index) for index in indices)
        ],
    )
    origins = [f"Provenance: {words.origin(result)}", *(finding.text for finding in words.weighty(result))]
    said = [words.headline(result), *result.reasons, words.meaning(result), *origins, words.DISCLAIMER]
    for sentence in dict.fromkeys(said):
        group[0].ContentSequence.append(_text(codes.REASON, sentence))
    return group


def _rates(case: Case) -> list[Measurement]:
    point = case.result.operating_point
    found = [(codes.PROBABILITY, case.result.probability)]
    if point is not None:
        found += [
            (codes.THRESHOLD, point.threshold),
            (codes.FALSE_ALARMS, point.false_positive_rate),
            (codes.MISSES, point.miss_rate),
        ]
    return _numbers([(name, value, codes.NO_UNITS) for name, value in found])


def _region(case: Case, number: int, region: Region, segmentation: Dataset | None) -> Any:
    common: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(case.region_uid(number), f"tamperscope region {number}"),
        "finding_type": concept(codes.MANIPULATION),
        "algorithm_id": _algorithm(case),
        "measurements": _sizes(region),
    }
    if case.sources.frame_of_reference is None or case.volume.shape[0] == 1:
        outline = _outline(case, region, region.centre_index[0])
        return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=outline, **common)
    if segmentation is None:
        cut = range(region.box_index[0][0], region.box_index[1][0] + 1)
        outlines = [_outline(case, region, k) for k in cut]
        return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=outlines, **common)
    segment = _segment(case, number, region, segmentation)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)


def _segment(case: Case, number: int, region: Region, segmentation: Dataset) -> ReferencedSegment:
    first = region.box_index[0][0]
    cut = [first + int(k) for k in np.flatnonzero(seg.mask_of(region).any(axis=(1, 2)))]
    images = [case.sources.slice_stand_in(k) for k in cut]
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_images=[SourceImageForSegmentation(one.SOPClassUID, one.SOPInstanceUID) for one in images],
    )


def _outline(case: Case, region: Region, k: int) -> ImageRegion:
    image = case.sources.slice_stand_in(min(max(k, 0), case.volume.shape[0] - 1))
    source = SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    return ImageRegion("POLYLINE", presentation.rectangle(region, case.volume.shape), source)


def _sizes(region: Region) -> list[Measurement]:
    _, row, column = region.centre_index
    centre: Sequence[tuple[Code, float | None, Code]] = (
        (codes.CENTRE_COLUMN, column + 0.5, codes.PIXELS),
        (codes.CENTRE_ROW, row + 0.5, codes.PIXELS),
    )
    if region.centre_mm is not None:
        names = (codes.CENTRE_X, codes.CENTRE_Y, codes.CENTRE_Z)
        centre = [(name, value, codes.MILLIMETRES) for name, value in zip(names, region.centre_mm, strict=True)]
    return _numbers(
        [
            (codes.PROBABILITY, region.score, codes.NO_UNITS),
            (codes.DIAMETER, region.diameter_mm, codes.MILLIMETRES),
            *centre,
        ]
    )


def _numbers(values: Sequence[tuple[Code, float | None, Code]]) -> list[Measurement]:
    """NUM items of what is known, to six digits."""
    return [
        Measurement(name=concept(name), value=float(f"{value:.6g}"), unit=concept(unit))
        for name, value, unit in values
        if value is not None and math.isfinite(value)
    ]


def _algorithm(case: Case) -> AlgorithmIdentification:
    name, version = case.algorithm()
    return AlgorithmIdentification(
        name=name,
        version=version,
        parameters=case.parameters() or None,
        family=concept(codes.ARTIFICIAL_INTELLIGENCE),
        manufacturer="tamperscope",
    )


def _text(name: Code, said: str) -> TextContentItem:
    return TextContentItem(concept(name), words.visible(said)[:MOST_TEXT], RelationshipTypeValues.CONTAINS)
