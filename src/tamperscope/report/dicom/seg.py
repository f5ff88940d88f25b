"""The places as a binary segmentation (PS3.3 A.51): a segment a region, exactly the voxels that the report names.

No frame is empty: viewers that take each frame for a slice to load grow slow on those that are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from tamperscope.records import MaskArray, Region

from . import codes, frames
from .identity import LONG_STRING, Case

KIND = "seg"
LABEL, DESCRIPTION = "TAMPERING", "Places that differ from the rest of the series"


def mask_of(region: Region) -> MaskArray:
    """Which voxels (k, j, i) of its box belong to a region; all where its mask was not kept."""
    if region.mask is not None:
        return region.mask
    first, last = region.box_index
    return np.ones([end - start + 1 for start, end in zip(first, last, strict=True)], dtype=np.bool_)


def render(case: Case) -> Dataset | None:
    """The segmentation; None without regions."""
    regions = case.result.regions
    if not regions:
        return None
    slices = _slices(regions)
    pixels = _painted(regions, slices, case.volume.shape)
    made = Segmentation(
        source_images=frames.stand_ins(case.sources, slices),
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[described(case, number, codes.MANIPULATION) for number in range(1, len(regions) + 1)],
        content_label=LABEL,
        content_description=DESCRIPTION,
        **case.made(KIND),
    )
    frames.place(made, case, KIND)
    return case.finish(made, KIND)


def described(case: Case, number: int, what: Code, label: str | None = None) -> SegmentDescription:
    """Segment ``number`` (PS3.3 C.8.20.4): a place that shows ``what``, with the algorithm that found it."""
    name, version = case.algorithm()
    parameters = dict(one.split(": ", 1) for one in case.parameters())
    return SegmentDescription(
        segment_number=number,
        segment_label=(label or f"Region {number}")[:LONG_STRING],
        segmented_property_category=codes.SPATIAL_CONCEPT,
        segmented_property_type=what,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=name,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=version,
            source="tamperscope",
            parameters=parameters,
        ),
        tracking_id=f"tamperscope {label or f'region {number}'}"[:LONG_STRING],
        tracking_uid=case.region_uid(number),
    )


def _slices(regions: Sequence[Region]) -> list[int]:
    """Slices of the volume in which a region has a voxel."""
    found: set[int] = set()
    for region in regions:
        found.update(region.box_index[0][0] + int(k) for k in np.flatnonzero(mask_of(region).any(axis=(1, 2))))
    return sorted(found)


def _painted(regions: Sequence[Region], slices: Sequence[int], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Region numbers (D', H, W); a plane for each region (D', H, W, R) where they overlap, so that none hides another.

    A label map takes a twentieth of the memory where there are twenty regions.
    """
    _, height, width = shape
    at = {k: slot for slot, k in enumerate(slices)}
    labels = np.zeros((len(slices), height, width), dtype=np.uint8)
    planes: NDArray[np.uint8] | None = None
    for number, region in enumerate(regions, start=1):
        for k, rows, columns, plane in _planes(region):
            if plane.any() and labels[at[k], rows, columns][plane].any():
                planes = np.zeros((*labels.shape, len(regions)), dtype=np.uint8)
            if plane.any():
                labels[at[k], rows, columns][plane] = number
    if planes is None:
        return labels
    for number, region in enumerate(regions):
        for k, rows, columns, plane in _planes(region):
            if plane.any():
                planes[at[k], rows, columns, number] = plane
    return planes


def _planes(region: Region) -> list[tuple[int, slice, slice, MaskArray]]:
    """The region slice by slice: which one, rows, columns, and the voxels in them."""
    (first, top, left), (_, bottom, right) = region.box_index
    rows, columns = slice(top, bottom + 1), slice(left, right + 1)
    return [(first + number, rows, columns, plane) for number, plane in enumerate(mask_of(region))]
