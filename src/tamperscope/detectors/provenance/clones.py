"""One header on two pictures: a forger takes the header of a scan and puts other pixels under it.

Two reconstructions of one acquisition share its times and places too, and say in kernel, image type, matrix or
elsewhere what makes their pixels differ. Headers are therefore compared as a whole: only where nothing but names and
numbers differs, and the pixels do, something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeVar

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import AllTransferSyntaxes

from tamperscope.decode import decode
from tamperscope.detectors.provenance import seen
from tamperscope.detectors.provenance.opened import Opened, opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.errors import InputError
from tamperscope.limits import Limits
from tamperscope.records import Instance, Series, Study
from tamperscope.study import payload

Item = TypeVar("Item")

SAMPLED = 5
"""Slices of two series that are set against each other: whoever copies a series copies all of it."""
FEWEST = 3
"""Slices that must share their times before a clone is certain: a radiograph may be processed twice."""
MOST = 8
"""Other series that one is compared with."""
MOMENTS, UIDS = "PS3.3 C.7.6.1", "PS3.5 9"

NAMING_GROUPS = frozenset({0x0002, 0x0010, 0x0012, 0x0032, 0x4FFE, 0xFFFA, 0xFFFC})
"""Meta information, patient, trial, request, signatures, padding."""
NAMING = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "StudyDate",
        "StudyTime",
        "SeriesDate",
        "SeriesTime",
        "AccessionNumber",
        "StudyID",
        "StudyDescription",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "SeriesNumber",
        "InstanceNumber",
        "PositionReferenceIndicator",
        "ReferencedStudySequence",
        "ReferencedPatientSequence",
        "ReferencedPerformedProcedureStepSequence",
        "RequestAttributesSequence",
        "PerformedProcedureStepID",
        "PerformedProcedureStepDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "PixelPaddingValue",
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "WindowCenter",
        "WindowWidth",
        "WindowCenterWidthExplanation",
    )
)
"""What names, numbers, writes or shows a picture, and does not explain why its pixels are others."""
FREE_TEXT = frozenset(tag_for_keyword(word) for word in ("SeriesDescription", "ProtocolName", "ImageComments"))
"""Where a technologist may have said what the other elements do not."""
LOSSLESS = frozenset(uid for uid in AllTransferSyntaxes if not uid.is_compressed) | {
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.5",
}
"""Transfer syntaxes that cannot have changed a pixel (PS3.5 A.4); RLE, JPEG lossless, JPEG-LS, JPEG 2000, HTJ2K."""


@dataclass(frozen=True, slots=True, eq=False)
class Kin:
    """Which series of a reading claim the same moments, or one Series Instance UID in two studies."""

    moments: dict[str, list[Series]]
    uids: dict[str, list[Series]]

    @classmethod
    def of(cls, studies: Iterable[Study]) -> Kin:
        """Those of all studies that were read; no file is opened."""
        moments: dict[str, list[Series]] = {}
        uids: dict[str, list[Series]] = {}
        for series in (series for study in studies for series in study.series):
            if series.series_uid is not None:
                uids.setdefault(series.series_uid, []).append(series)
            for moment in {instance.moment for instance in series.instances if instance.moment is not None}:
                moments.setdefault(moment, []).append(series)
        return cls(moments, uids)

    def to(self, series: Series) -> tuple[Series, ...]:
        """The others that claim what this one claims, at most `MOST`."""
        found = list(self.uids.get(series.series_uid or "", ()))
        for instance in series.instances:
            found += self.moments.get(instance.moment or "", ())
        # Series are no keys of a dictionary: their header is one.
        others = {id(other): other for other in found if other is not series}
        return tuple(others.values())[:MOST]


class Difference(IntEnum):
    """How far two headers differ."""

    NONE = 0
    """In names and numbers only."""
    SAID = 1
    """In what people write, or in private elements that only one of them has."""
    EXPLAINED = 2
    """In something that makes other pixels."""


def check(series: Series, kin: Sequence[Series], limits: Limits) -> Iterator[Seen]:
    """What two pictures cannot both claim; all files named are those of ``series``."""
    if series.format != "dicom":
        return
    yield from _rivals(series, limits)
    for other in kin:
        yield from _shared_uid(series, other)
        yield from _clone(series, other, limits)


def _rivals(series: Series, limits: Limits) -> Iterator[Seen]:
    """Files that were read beside these, with their UIDs and other pixels."""
    having = [instance for instance in series.instances if instance.rival is not None]
    for instance in _spread(having):
        if instance.rival is None or _same_pixels(series, instance, series, instance.rival, limits):
            continue
        if all(_is_lossless(_opened(one, limits)) for one in (instance, instance.rival)):
            text = "Another file was read that has this SOP Instance UID and other pixels."
            yield seen.contradiction("uid-conflict", text, UIDS, instance.source)
        else:
            text = "Another file was read that has this SOP Instance UID and other pixels; one of them lost some to a "
            yield seen.warning("uid-conflict", f"{text}lossy compression.", "PS3.3 C.7.6.1.1.5", instance.source)


def _is_lossless(one: Opened) -> bool:
    lossy = one.text("LossyImageCompression") == "01"
    return not lossy and one.parsed is not None and one.parsed.transfer_syntax in LOSSLESS


def _shared_uid(series: Series, other: Series) -> Iterator[Seen]:
    studies = {series.study_uid, other.study_uid}
    if series.series_uid is not None and series.series_uid == other.series_uid and len(studies - {None}) == 2:
        text = "A series of another study has this Series Instance UID."
        yield seen.contradiction("uid-series", text, UIDS)


def _clone(series: Series, other: Series, limits: Limits) -> Iterator[Seen]:
    """The header of the one under the pixels of the other."""
    theirs = {instance.moment: instance for instance in other.instances if instance.moment is not None}
    shared = {mine.moment: (mine, theirs[mine.moment]) for mine in series.instances if mine.moment in theirs}
    sampled = _spread(list(shared.values()))
    certain = len(shared) >= FEWEST
    for mine, twin in sampled:
        files = _opened(mine, limits), _opened(twin, limits)
        difference = _difference(files[0].dataset, files[1].dataset)
        if difference is Difference.EXPLAINED:
            return
        certain = certain and difference is Difference.NONE and all(map(_is_lossless, files))
    if all(_same_pixels(series, mine, other, twin, limits) for mine, twin in sampled):
        return
    text = (
        "Another series has the header of this one, times to fractions of a second included, and other pixels: one of "
        "the two headers was copied."
    )
    names = [mine.source for mine, _ in shared.values()]
    yield (seen.contradiction if certain else seen.warning)("header-clone", text, MOMENTS, *names)


def _difference(first: Dataset, second: Dataset) -> Difference:
    """What two headers differ in, but for names and numbers; UIDs are always others."""
    worst = Difference.NONE
    for tag in sorted({*first.keys(), *second.keys()}):
        if tag.group not in NAMING_GROUPS and tag not in NAMING and not _same(tag, first, second):
            one_sided = tag not in first or tag not in second
            said = tag in FREE_TEXT or (tag.is_private and one_sided)
            worst = max(worst, Difference.SAID if said else Difference.EXPLAINED)
    return worst


def _same(tag: BaseTag, first: Dataset, second: Dataset) -> bool:
    raw = [_raw(one, tag) for one in (first, second)]
    if raw[0] == raw[1]:
        return True
    one, two = first.get(tag), second.get(tag)
    kinds = {element.VR for element in (one, two) if element is not None}
    if kinds <= {"UI", "PN"}:
        return True
    if one is None or two is None or kinds != {"SQ"}:
        return False
    pairs = zip(one.value, two.value, strict=False)
    return len(one.value) == len(two.value) and all(_difference(*pair) is Difference.NONE for pair in pairs)


def _raw(dataset: Dataset, tag: BaseTag) -> Any:
    """The value as it lies in the file as far as it was not converted; None of what is empty or absent."""
    element = dataset.get_item(tag)
    return None if element is None or element.value in (None, b"", "") else element.value


def _same_pixels(series: Series, mine: Instance, other: Series, twin: Instance, limits: Limits) -> bool:
    """Whether two files decode to the same values; what cannot be decoded is no other picture."""
    try:
        one, two = (decode(replace(whole, instances=(one,)), limits) for whole, one in ((series, mine), (other, twin)))
    except InputError:
        return True
    return one.digest == two.digest


def _opened(instance: Instance, limits: Limits) -> Opened:
    return opened(payload(instance, limits), instance.source, "dicom", limits)


def _spread(items: Sequence[Item]) -> list[Item]:
    """At most `SAMPLED` of them, evenly."""
    if len(items) <= SAMPLED:
        return list(items)
    return [items[round(step * (len(items) - 1) / (SAMPLED - 1))] for step in range(SAMPLED)]
