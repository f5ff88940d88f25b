"""A series as DICOM again: the headers of its source, new UIDs, other pixels, and the mark.

Forgery and pristine twin come through here alike. Their headers are neutral: those of the source but for new UIDs,
Explicit VR Little Endian, what the pixels imply (Smallest and Largest Pixel Value), and what would be wrong beside
other pixels (`STALE`). Image Type, dates, lossy flags and patient stay. Study Instance UID is new too, the same one for
all that is made of one study: nothing written here can be filed into the study of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from tamperscope import geometry
from tamperscope.errors import UnsupportedError
from tamperscope.formats.dicom import derived_uid, integer, mapped, whole_header
from tamperscope.geometry import Plane
from tamperscope.records import FloatArray, Series, Volume, voxel_digest
from tamperscope.study import DEFAULT_LIMITS, Limits, payloads

from .mark import Mark, check, prefix, stamp
from .written import Array, Region, Scale, Written, covered

Edit: TypeAlias = Callable[[Sequence[Dataset]], list[Dataset]]
"""A header attack with its parameters."""

STALE = (
    "IconImageSequence",  # a small picture of the pixels as they were
    "HistogramSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "PixelDataProviderURL",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "DataSetTrailingPadding",
)
UIDS = {"study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID"}
EXTREMES = ("SmallestImagePixelValue", "LargestImagePixelValue")
PIXEL_GROUP, OVERLAY_GROUPS, OVERLAY_DATA = 0x7FE0, range(0x6000, 0x6100, 2), 0x3000


def headers(series: Series, limits: Limits = DEFAULT_LIMITS) -> list[Dataset]:
    """The header of each file of a series as it stands there, without pixels.

    Raises:
        InputError: a file cannot be read.
    """
    read = zip(series.instances, payloads(series.instances, limits), strict=True)
    return [whole_header(data, instance.source) for instance, data in read]


def write(
    series: Series,
    original: Volume,
    volume: Volume,
    folder: Path,
    mark: Mark | None,
    *,
    edit: Edit | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Written:
    """Write a series into ``folder``, a file for each one that it was read from.

    Args:
        series: what was read.
        original: its voxels (D, H, W) as `decode` gives them.
        volume: the voxels to write, on the same grid or a part of it: Hounsfield units for CT, else stored values.
        folder: made if it is missing.
        mark: the mark of a forgery; None for a pristine twin.
        edit: forges the headers, after they got their new UIDs and before they get the mark.
        limits: what a file of the source may ask for.

    Returns:
        The files, and the voxels as they hold them. UIDs depend on the source and the record alone.

    Raises:
        UsageError: there is no mark for what differs from the source.
        UnsupportedError: colour, packed bits or floating point, a scale that does not give the source back, another
            grid, or a part of a multi-frame object.
        InputError: the source cannot be read again.
    """
    check(mark, original, volume, edited=edit is not None)
    if volume.voxels.ndim != 3:
        raise UnsupportedError(
            f"{series.instances[0].source}: a colour series cannot be written", hint="convert it to grey first"
        )
    region = covered(original, volume)
    series = _cut(series, original, region)
    datasets, planes = _neutral(series, original, region, mark, limits)
    if edit is not None:
        with mapped(series.instances[0].source):
            datasets = edit(datasets)
    folder.mkdir(parents=True, exist_ok=True)
    files, saturated, start = [], 0, 0
    voxels, before = np.empty_like(volume.voxels), original.voxels[region]
    for number, (dataset, instance) in enumerate(zip(datasets, series.instances, strict=True)):
        if mark is not None:
            stamp(dataset, mark)
        part = slice(start, start + instance.frames)
        scales = [_scale(dataset, plane, instance.source, rescaled=series.modality == "CT") for plane in planes[number]]
        order = geometry.order(planes[number])
        with mapped(instance.source):
            stored, voxels[part], lost = _stored(scales, order, volume.voxels[part], before[part], instance.source)
            _put(dataset, stored)
            files.append(folder / f"{prefix(mark)}{number + 1:04d}.dcm")
            dataset.save_as(files[-1], enforce_file_format=True)
        saturated += lost
        start += instance.frames
    uids = {name: str(datasets[0].get(keyword) or "") for name, keyword in UIDS.items()}
    return Written(tuple(files), replace(volume, voxels=voxels, digest=voxel_digest(voxels)), saturated, uids)


def _cut(series: Series, original: Volume, region: Region) -> Series:
    """The series without the images that a crop left out."""
    if all(instance.frames == 1 for instance in series.instances):
        return replace(series, instances=series.instances[region[0]])
    if any(part != slice(0, size) for part, size in zip(region, original.shape, strict=True)):
        raise UnsupportedError(
            f"{series.instances[0].source}: a part of a multi-frame object cannot be written",
            hint="leave crop out, or export the series as one file a slice",
        )
    return series


def _neutral(
    series: Series, original: Volume, region: Region, mark: Mark | None, limits: Limits
) -> tuple[list[Dataset], list[list[Plane]]]:
    """Headers with their new identity, and the planes of the frames of each."""
    identity = _Identity.of(series, original, mark)
    datasets, planes = headers(series, limits), []
    for number, (dataset, instance) in enumerate(zip(datasets, series.instances, strict=True)):
        with mapped(instance.source):
            planes.append([geometry.plane(dataset, frame) for frame in range(instance.frames)])
            _neutralise(dataset, instance.source)
            _move(dataset, planes[-1][0], original, region)
            identity.give(dataset, number)
    return datasets, planes


# --- identity ---


@dataclass(frozen=True, slots=True)
class _Identity:
    """The UIDs of what is written: under 2.25 (PS3.5 B.2), from the source, its voxels and the record alone."""

    study: str
    series: str

    @classmethod
    def of(cls, series: Series, original: Volume, mark: Mark | None) -> _Identity:
        source = [series.series_uid or "", original.digest]
        return cls(
            derived_uid("study", series.study_uid or original.digest),
            derived_uid("series", *source, *(["twin"] if mark is None else [mark.role, mark.record])),
        )

    def give(self, dataset: Dataset, number: int) -> None:
        """Replace the identity of image ``number`` of the series, in the data set and in its meta information."""
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.study, self.series
        dataset.SOPInstanceUID = derived_uid("image", self.series, str(number))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _neutralise(dataset: Dataset, source: str) -> None:
    """Leave out what the old pixels and the old encoding said, and give new meta information."""
    sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    if not sop_class:
        raise UnsupportedError(f"{source}: states no SOP Class", hint="repair its header first")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID = sop_class
    dataset.preamble = b"\0" * 128
    for keyword in STALE:
        if keyword in dataset:
            del dataset[keyword]
    tags = list(dataset.keys())
    packed = {t.group for t in tags if t.group in OVERLAY_GROUPS and (t.group, OVERLAY_DATA) not in dataset}
    for tag in tags:
        # A group's length (retired) is that of the old encoding; overlays without data lay in the pixels' spare bits.
        if tag.group == PIXEL_GROUP or tag.group in packed or tag.element == 0:
            del dataset[tag]


def _move(dataset: Dataset, plane: Plane, original: Volume, region: Region) -> None:
    """Rows, Columns and Image Position (Patient) of what a crop left of a slice (PS3.3 C.7.6.2.1.1)."""
    _, rows, columns = region
    if (rows, columns) == (slice(0, original.shape[1]), slice(0, original.shape[2])):
        return
    dataset.Rows, dataset.Columns = rows.stop - rows.start, columns.stop - columns.start
    for tag in [tag for tag in dataset.keys() if tag.group in OVERLAY_GROUPS]:  # noqa: SIM118  gives tags
        del dataset[tag]
    if plane.position is not None and plane.orientation is not None and plane.spacing is not None:
        across, down = np.array(plane.orientation).reshape(2, 3)
        moved = plane.position + rows.start * plane.spacing[0] * down + columns.start * plane.spacing[1] * across
        dataset.ImagePositionPatient = [format_number_as_ds(float(part)) for part in moved]


# --- pixels ---


def _stored(
    scales: Sequence[Scale], order: Array, values: FloatArray, before: FloatArray, source: str
) -> tuple[Array, FloatArray, int]:
    """Frames (F, H, W) as the file stores them, in its own order; slices (F, H, W) as they will be read; saturated."""
    frames: list[Array] = [np.empty(0)] * len(scales)
    read = np.empty_like(values)
    saturated = 0
    for slot, frame in enumerate(order):
        scale = scales[int(frame)]
        frames[int(frame)], read[slot], lost = scale.stored(values[slot], before[slot], source)
        saturated += lost
    return np.stack(frames), read, saturated


def _scale(dataset: Dataset, plane: Plane, source: str, *, rescaled: bool) -> Scale:
    """How an image stores its values (PS3.3 C.7.6.3.1 and C.11.1.1.2)."""
    allocated, signed = integer(dataset, "BitsAllocated") or 16, integer(dataset, "PixelRepresentation") == 1
    bits = integer(dataset, "BitsStored") or allocated
    if allocated not in (8, 16, 32) or not 1 < bits <= allocated:
        raise UnsupportedError(
            f"{source}: {bits} bits stored in {allocated} bits allocated cannot be written", hint="8, 16 and 32 are"
        )
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    dtype = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    slope, intercept = (plane.slope, plane.intercept) if rescaled else (1.0, 0.0)
    return Scale(dtype, low, high, slope, intercept)


def _put(dataset: Dataset, frames: Array) -> None:
    """Pixel Data in native format (PS3.5 8.1.1), and the attributes that depend on it."""
    dataset.HighBit = (integer(dataset, "BitsStored") or frames.dtype.itemsize * 8) - 1
    for keyword, extreme in zip(EXTREMES, (frames.min(), frames.max()), strict=True):
        if keyword in dataset:
            vr = "SS" if frames.dtype.kind == "i" else "US"
            if -(2**15) <= extreme < 2**16:
                dataset[keyword] = DataElement(dataset[keyword].tag, vr, int(extreme))
            else:
                del dataset[keyword]
    data = frames.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if frames.dtype.itemsize > 1 else "OB"
