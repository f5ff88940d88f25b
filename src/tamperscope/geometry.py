"""Where slices lie: the plane of each frame, their order, and the affine of the stack.

Affines map index (k, j, i) to (x, y, z) millimetres in LPS (PS3.3 C.7.6.2.1.1). Nothing is resampled: a stack with
gaps keeps its slices and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tamperscope.formats import dicom
from tamperscope.formats.dicom import number, numbers
from tamperscope.grouping import GAP_TOLERANCE, SAME_DIRECTION, SAME_POSITION_MM, normal, place_findings
from tamperscope.records import Geometry

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plane:
    """Place and scale of one frame, from the data set or its functional groups (PS3.3 C.7.6.16)."""

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    """Millimetres between rows, then between columns (PS3.3 10.7.1.3)."""
    thickness: float | None
    slope: float = 1.0
    intercept: float = 0.0
    rescaled: bool = True


def plane(dataset: Dataset, frame: int) -> Plane:
    """Geometry and rescale of one frame."""
    position = dicom.group(dataset, frame, "PlanePositionSequence") or dataset
    orientation = dicom.group(dataset, frame, "PlaneOrientationSequence") or dataset
    measures = dicom.group(dataset, frame, "PixelMeasuresSequence") or dataset
    values = dicom.group(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = number(values, "RescaleSlope"), number(values, "RescaleIntercept")
    usable = slope is not None and slope != 0 and intercept is not None
    between, thick = number(measures, "SpacingBetweenSlices"), number(measures, "SliceThickness")
    return Plane(
        numbers(position, "ImagePositionPatient", 3),
        dicom.orthonormal(numbers(orientation, "ImageOrientationPatient", 6)),
        _spacing(measures),
        next((abs(size) for size in (between, thick) if size), None),
        *((slope or 1.0, intercept or 0.0) if usable else (1.0, 0.0)),
        rescaled=usable,
    )


def _spacing(measures: Dataset) -> tuple[float, ...] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = numbers(measures, keyword, 2)
        if spacing is not None and min(spacing) > 0:
            return spacing
    return None


def order(planes: Sequence[Plane]) -> NDArray[np.intp]:
    """Indices that sort parallel planes along their normal; as they are where that cannot be."""
    places = _places(planes)
    return np.arange(len(planes)) if places is None else np.argsort(places, kind="stable")


def _places(planes: Sequence[Plane]) -> Matrix | None:
    """Millimetres along the normal of the first plane; None if a plane has no place or another direction."""
    first = planes[0].orientation
    if first is None or any(entry.position is None or entry.orientation is None for entry in planes):
        return None
    directions = np.array([entry.orientation for entry in planes])
    if not np.allclose(directions, first, atol=SAME_DIRECTION, rtol=0):
        return None
    return np.asarray(np.array([entry.position for entry in planes]) @ normal(first), dtype=np.float64)


def affine(planes: Sequence[Plane]) -> tuple[Matrix, Geometry, list[str]]:
    """Affine of a sorted stack, what it is worth, and what is odd about it.

    "patient" needs position, orientation and spacing; "spacing" has pixel sizes only; "none" is in voxels.
    """
    places = _places(planes)
    spacing, first = planes[0].spacing, planes[0]
    matrix = np.eye(4)
    if spacing is None:
        return matrix, "none", ["the images state no pixel spacing; sizes are in voxels"]
    thickness = first.thickness or 1.0
    if places is None or first.orientation is None or first.position is None:
        matrix[:3, :3] = np.array([[0, 0, spacing[1]], [0, spacing[0], 0], [thickness, 0, 0]])
        return matrix, "spacing", ["the images state no usable position in the patient"]
    matrix[:3, 0] = _slice_step(planes, places, thickness)
    matrix[:3, 1] = np.array(first.orientation[3:]) * spacing[0]
    matrix[:3, 2] = np.array(first.orientation[:3]) * spacing[1]
    matrix[:3, 3] = first.position
    findings = []
    if any(entry.spacing != spacing for entry in planes):
        findings.append("the slices differ in pixel spacing; that of the first one is used")
    return matrix, "patient", findings


def _slice_step(planes: Sequence[Plane], places: Matrix, thickness: float) -> Matrix:
    """From one slice to the next: the mean where all distances agree, else the median along the whole way."""
    steps = np.diff(places)
    apart = steps[steps > SAME_POSITION_MM]
    first, last = planes[0], planes[-1]
    if not apart.size or first.position is None or last.position is None or first.orientation is None:
        return normal(first.orientation or (1, 0, 0, 0, 1, 0)) * thickness
    way = np.subtract(last.position, first.position)
    usual = float(np.median(apart))
    if apart.size == steps.size and bool(np.all(np.abs(steps - usual) <= GAP_TOLERANCE * usual)):
        return np.asarray(way / steps.size, dtype=np.float64)
    return np.asarray(way * (usual / (places[-1] - places[0])), dtype=np.float64)


def frame_findings(planes: Sequence[Plane]) -> list[str]:
    """Gaps and duplicates among the frames of one multi-frame object."""
    places = _places(planes)
    return place_findings(places.tolist()) if places is not None and len(planes) > 1 else []
