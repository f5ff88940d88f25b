"""Multi-frame objects on the grid of a volume: which slices they hold, and how each frame says where it lies."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import format_number_as_ds

from .identity import Case
from .sources import Sources

STACK = "1"
NO_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "DimensionOrganizationType")
DIMENSIONS = {
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "InStackPositionNumber": "FrameContentSequence",
}
"""What can order frames (PS3.3 C.7.6.17), and the functional group that holds it."""


def stand_ins(sources: Sources, slices: Sequence[int]) -> list[Dataset]:
    """What highdicom takes for the sources of these slices."""
    return [sources.slice_stand_in(k) for k in slices]


def place(dataset: Dataset, case: Case, kind: str) -> None:
    """Make the frames say what is known of their place, and no more.

    A stack in the patient keeps its positions (PS3.3 C.7.6.16.2.3). Slices that share a place, or have none, are
    ordered by In-Stack Position Number instead (C.7.6.16.2.2), the order of the slices in the volume; what
    highdicom was told for want of a place is taken out. Goes before `Case.finish`.
    """
    sources = case.sources
    organisation = case.uid("dimensions", kind)
    if not sources.distinct:
        _stacked(dataset, sources)
    if sources.frame_of_reference is None:
        _placeless(dataset)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation


def _stacked(dataset: Dataset, sources: Sources) -> None:
    groups = dataset.PerFrameFunctionalGroupsSequence
    order = [sources.slice_of(_stand_in_of(group)) for group in groups]
    ranks = {k: rank for rank, k in enumerate(sorted(set(order)), start=1)}
    segmented = "SegmentSequence" in dataset
    for k, group in zip(order, groups, strict=True):
        content = group.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = STACK, ranks[k]
        content.DimensionIndexValues = [content.DimensionIndexValues[0], ranks[k]] if segmented else [ranks[k]]
        position = sources.planes[k].position
        if position is not None:
            group.PlanePositionSequence[0].ImagePositionPatient = [format_number_as_ds(part) for part in position]
    dimensions = ["ReferencedSegmentNumber"] if segmented else []
    dataset.DimensionIndexSequence = Items([_dimension(name) for name in (*dimensions, "InStackPositionNumber")])
    if "DimensionOrganizationType" in dataset:
        del dataset.DimensionOrganizationType
    orientation = sources.planes[0].orientation
    if orientation is not None:
        shared = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        shared.ImageOrientationPatient = [format_number_as_ds(part) for part in orientation]


def _placeless(dataset: Dataset) -> None:
    for keyword in NO_PLACE:
        if keyword in dataset:
            delattr(dataset, keyword)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword in shared:
            delattr(shared, keyword)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        if "PlanePositionSequence" in group:
            del group.PlanePositionSequence


def _stand_in_of(group: Dataset) -> str:
    return str(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)


def _dimension(keyword: str) -> Dataset:
    """An item of the Dimension Index Sequence (PS3.3 C.7.6.17)."""
    item = Dataset()
    item.DimensionIndexPointer = tag_for_keyword(keyword)
    item.FunctionalGroupPointer = tag_for_keyword(DIMENSIONS[keyword])
    item.DimensionDescriptionLabel = keyword
    return item
