"""The objects that a volume was read from, as the writers of result objects need them.

highdicom takes its sources as data sets that satisfy their IOD. What a hospital sends often does not, and not every
source has a Frame of Reference or one frame a file. So highdicom is given stand-ins: one plain single-frame image a
slice, and one a file, that hold nothing but sizes and places. When it is done, `Sources.restore` puts what they stand
for in their place: class, instance and, of a multi-frame object, the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from tamperscope import geometry
from tamperscope.errors import UnsupportedError
from tamperscope.formats import dicom
from tamperscope.geometry import Plane
from tamperscope.grouping import SAME_POSITION_MM, normal
from tamperscope.records import Series, Volume
from tamperscope.study import Limits, payloads

STAND_IN_CLASS = "1.2.840.10008.5.1.4.1.1.2"
"""CT Image Storage: one frame, and a place in the patient."""
STAND_IN_ROOT = "2.25.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PER_INSTANCE = ("ReferencedSOPSequence", "ReferencedInstanceSequence")
"""Lists below a series that name each object once, whichever frames of it are meant."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an object is referred to by (PS3.3 10.8); ``frame`` is None for the whole of it."""

    sop_class: str
    instance: str
    frame: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Headers of the files of a volume, and where each slice comes from."""

    headers: tuple[Dataset, ...]
    """One a file, without pixels."""
    instances: tuple[Reference, ...]
    """One a file."""
    slices: tuple[tuple[int, int], ...]
    """Of each slice, the index of its file and its frame, counted from 1."""
    planes: tuple[Plane, ...]
    """Place of each slice."""
    shape: tuple[int, int, int]
    """(D, H, W) of the volume."""
    study: str
    series: str
    frame_of_reference: str | None
    """None unless the slices are a stack in one known place of the patient."""

    distinct: bool
    """Whether they are, and no two of them lie in one place."""

    def slice_stand_in(self, k: int) -> Dataset:
        """A single-frame image in the place of slice ``k``; side by side where there is no such place, or twice."""
        image = self._stand_in(f"{STAND_IN_ROOT}.{k + 1}")
        plane = self.planes[k]
        first = self.planes[0]
        position = plane.position if self.distinct else (0.0, 0.0, float(k))
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = self.frame_of_reference or STAND_IN_ROOT, ""
        image.ImagePositionPatient = [format_number_as_ds(part) for part in position or ()]
        image.ImageOrientationPatient = [
            format_number_as_ds(part) for part in ((first.orientation if self.distinct else None) or AXIAL)
        ]
        image.PixelSpacing = [format_number_as_ds(part) for part in first.spacing or (1.0, 1.0)]
        image.SliceThickness = format_number_as_ds(first.thickness or 1.0)
        return image

    def instance_stand_in(self, index: int) -> Dataset:
        """An image in the place of file ``index``, all frames of it."""
        return self._stand_in(f"{STAND_IN_ROOT}.0.{index + 1}")

    def slice_of(self, stand_in: str) -> int:
        """Which slice the SOP Instance UID of a stand-in stands for."""
        return int(stand_in.rsplit(".", 1)[1]) - 1

    def _stand_in(self, uid: str) -> Dataset:
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = STAND_IN_CLASS, uid
        image.StudyInstanceUID, image.SeriesInstanceUID = self.study, self.series
        image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = None
        image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = None
        image.Modality, image.SamplesPerPixel = "CT", 1
        _, image.Rows, image.Columns = self.shape
        return image

    def _behind(self, uid: str) -> Reference | None:
        """What a stand-in stands for; None for any other UID."""
        parts = uid.removeprefix(f"{STAND_IN_ROOT}.").split(".")
        if not uid.startswith(f"{STAND_IN_ROOT}.") or len(parts) > 2:
            return None
        if len(parts) == 2:
            return self.instances[int(parts[1]) - 1]
        index, frame = self.slices[int(parts[0]) - 1]
        whole = self.instances[index]
        many = dicom.frames(self.headers[index]) > 1
        return Reference(whole.sop_class, whole.instance, frame) if many else whole

    def restore(self, dataset: Dataset) -> None:
        """Replace every reference to a stand-in, at any depth, by one to what it stands for."""
        for element in dataset:
            if element.VR != "SQ":
                continue
            once = element.keyword in PER_INSTANCE and "SeriesInstanceUID" in dataset
            items = [self._restored(entry, whole=once) for entry in element.value]
            element.value = Items(_merged(items) if len(items) > 1 else items)

    def _restored(self, entry: Dataset, *, whole: bool) -> Dataset:
        behind = self._behind(str(entry.get("ReferencedSOPInstanceUID", "")))
        if behind is None:
            self.restore(entry)
            return entry
        # highdicom lists one item in several places, so that it must not be changed itself.
        fresh = Dataset(dict(entry.items()))
        fresh.ReferencedSOPClassUID, fresh.ReferencedSOPInstanceUID = behind.sop_class, behind.instance
        if behind.frame is not None and not whole:
            fresh.ReferencedFrameNumber = behind.frame
        self.restore(fresh)
        return fresh


def _merged(items: Iterable[Dataset]) -> list[Dataset]:
    """References to one object made one, with all of their frames; other items stay."""
    found: list[Dataset] = []
    known: dict[str, tuple[Dataset, list[int]]] = {}
    for entry in items:
        uid = str(entry.get("ReferencedSOPInstanceUID", ""))
        frame = entry.get("ReferencedFrameNumber")
        if uid in known:
            first, frames = known[uid]
            frames += [frame] if frame is not None and frame not in frames else []
            first.ReferencedFrameNumber = sorted(frames) if frames else None
            if not frames:
                del first.ReferencedFrameNumber
            continue
        found.append(entry)
        if uid:
            known[uid] = (entry, [] if frame is None else [frame])
    return found


def read(series: Series, volume: Volume, limits: Limits) -> Sources:
    """Read the headers of the files that a volume was decoded from.

    Args:
        series: as `study.read` gave it.
        volume: its pixels; a file that could not be decoded is missing in it.
        limits: what a file may ask for.

    Raises:
        InputError: a file cannot be read again, or lacks a UID that a reference to it needs.
    """
    used = set(volume.sources)
    kept = [instance for instance in series.instances if instance.source in used]
    headers, instances = [], []
    for instance, data in zip(kept, payloads(kept, limits), strict=True):
        header = dicom.whole_header(data, instance.source)
        with dicom.mapped(instance.source):
            headers.append(header)
            instances.append(_reference(header, instance.source))
    at = {instance.source: index for index, instance in enumerate(kept)}
    slices = tuple((at[source], frame) for source, frame in zip(volume.sources, volume.frames, strict=True))
    planes = []
    for index, frame in slices:
        with dicom.mapped(kept[index].source):
            planes.append(geometry.plane(headers[index], frame - 1))
    study, own = (_uid(headers[0], keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID"))
    if study is None or own is None:
        raise UnsupportedError(
            f"{kept[0].source}: states no valid Study or Series Instance UID", hint="repair its header first"
        )
    stacked = volume.geometry == "patient" and all(plane.position is not None for plane in planes)
    frames_of_reference = {_uid(header, "FrameOfReferenceUID") for header in headers}
    known = frames_of_reference.pop() if stacked and len(frames_of_reference) == 1 else None
    distinct = known is not None and _distinct(planes)
    return Sources(tuple(headers), tuple(instances), slices, tuple(planes), volume.shape, study, own, known, distinct)


def _distinct(planes: Sequence[Plane]) -> bool:
    places = np.array([plane.position for plane in planes]) @ normal(planes[0].orientation or AXIAL)
    return bool(np.all(np.diff(np.sort(places)) > SAME_POSITION_MM))


def _reference(header: Dataset, source: str) -> Reference:
    meta: Dataset = getattr(header, "file_meta", Dataset())
    sop_class = _uid(header, "SOPClassUID") or _uid(meta, "MediaStorageSOPClassUID")
    instance = _uid(header, "SOPInstanceUID")
    if sop_class is None or instance is None:
        raise UnsupportedError(
            f"{source}: states no valid SOP Class or SOP Instance UID", hint="repair its header first"
        )
    return Reference(sop_class, instance)


def _uid(dataset: Dataset, keyword: str) -> str | None:
    """A UID that satisfies PS3.5 9.1, or None."""
    found = dicom.text(dataset, keyword)
    return found if found is not None and UID(found).is_valid else None
