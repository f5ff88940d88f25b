"""The files of a series against each other and against time: UIDs and dates that cannot be, slices that differ.

A slice that was replaced tends to come from another program than its neighbours. Nothing here names a value that
belongs to the patient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tamperscope.detectors.provenance import seen
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.formats import dicom

UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
GRAMMAR = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
SERIES_FACTS = {
    "Manufacturer": "PS3.3 C.7.5.1",
    "ManufacturerModelName": "PS3.3 C.7.5.1",
    "SoftwareVersions": "PS3.3 C.7.5.1",
    "Modality": "PS3.3 C.7.3.1",
    "FrameOfReferenceUID": "PS3.3 C.7.4.1",
}
"""Attributes of modules that a series has once: another value in one file contradicts the rest."""
IMAGE_FACTS = {
    "ConvolutionKernel": "PS3.3 C.8.2.1",
    "KVP": "PS3.3 C.8.2.1",
    "ReconstructionDiameter": "PS3.3 C.8.2.1",
    "SliceThickness": "PS3.3 C.7.6.2",
    "PixelSpacing": "PS3.3 C.7.6.2",
    "BitsStored": "PS3.3 C.7.6.3",
    "PixelRepresentation": "PS3.3 C.7.6.3",
    "PhotometricInterpretation": "PS3.3 C.7.6.3",
    "RescaleIntercept": "PS3.3 C.11.1",
    "RescaleSlope": "PS3.3 C.11.1",
    "LossyImageCompression": "PS3.3 C.7.6.1.1.5",
    "SyntheticData": "PS3.3 C.12.1",
}
"""Attributes of single images that one reconstruction gives all of them alike."""
SLICE_FACTS = ("InstanceNumber", "ImageType", "ContentTime", "ImagePositionPatient")
VARYING = {"PT": ("RescaleSlope", "RescaleIntercept"), "NM": ("RescaleSlope", "RescaleIntercept")}
"""What scanners of other modalities set anew for each slice."""
FILE_FACTS = ("ImplementationClassUID", "SourceApplicationEntityTitle", "TransferSyntaxUID")
FILE_NAMES = {
    "ImplementationClassUID": "Implementation Class UID (0002,0012)",
    "SourceApplicationEntityTitle": "Source Application Entity Title (0002,0016)",
    "TransferSyntaxUID": "Transfer Syntax UID (0002,0010)",
}
FEWEST = 5
"""Files of a series from which on a few can stand apart from the rest."""
SMALL = 0.2
"""Share of the files that is "a few"."""
FIRST = date(1971, 10, 1)
"""The first patient in a CT scanner (Hounsfield 1973); digital radiographs came later."""
SLACK = timedelta(days=1)
"""Clocks and time zones."""
YEARS = 2.0
"""Years by which age, birth and examination may disagree: ages are rounded, and some are those at admission."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is compared of one file."""

    source: str
    values: dict[str, str] = field(repr=False)
    dates: dict[str, date] = field(repr=False)
    age_gap: float | None = field(repr=False)
    """Years between the age stated and the one that birth and examination give; None where one of them is absent."""


def facts(opened: Opened) -> Facts:
    """The facts of one DICOM file."""
    values = {word: opened.text(word) or "" for word in (*UIDS, *SERIES_FACTS, *IMAGE_FACTS, *SLICE_FACTS)}
    values |= {word: dicom.text(opened.meta, word) or "" for word in (*FILE_FACTS, "MediaStorageSOPInstanceUID")}
    dates = {word: day for word in DATES if (day := _day(opened.text(word))) is not None}
    return Facts(opened.source, values, dates, _age_gap(opened, dates.get("StudyDate")))


def check(files: Sequence[Facts]) -> Iterator[Seen]:
    """What cannot be in one file, and what differs from its series."""
    today = datetime.now(UTC).date()
    for one in files:
        yield from _identity(one)
        yield from _times(one, today)
    yield from _shared_uids(files)
    yield from _strangers(files)
    yield from _foreign_uids(files)
    yield from _numbers(files)
    yield from _moments(files)


def _identity(one: Facts) -> Iterator[Seen]:
    uid, meta = one.values["SOPInstanceUID"], one.values["MediaStorageSOPInstanceUID"]
    if uid and meta and uid != meta:
        text = "SOP Instance UID (0008,0018) is not the one in the file's meta information (0002,0003)."
        yield seen.contradiction("uid-meta", text, "PS3.10 7.1", one.source)
    for word in UIDS:
        value = one.values[word]
        if not value:
            yield seen.warning("uid", f"{word} is missing.", "PS3.3 C.12.1 / C.7.2.1 / C.7.3.1", one.source)
        elif "." not in value:
            text = f"{word} is a bare number or word, which no authority gives out."
            yield seen.contradiction("uid", text, "PS3.5 9.1", one.source)
        elif len(value) > 64 or not GRAMMAR.fullmatch(value):
            yield seen.warning("uid", f"{word} does not obey the grammar of UIDs.", "PS3.5 9.1", one.source)


def _times(one: Facts, today: date) -> Iterator[Seen]:
    for word, day in one.dates.items():
        if day > today + SLACK:
            yield seen.contradiction("date", f"{word} lies in the future.", "PS3.3 C.7.2.1 / C.7.6.1", one.source)
        elif day < FIRST:
            text = f"{word} lies before there was such a picture; de-identification shifts dates, too."
            yield seen.note("date", text, "PS3.15 E.3.6", one.source)
    acquired = one.dates.get("AcquisitionDate")
    for word in ("ContentDate", "InstanceCreationDate"):
        made = one.dates.get(word)
        if acquired and made and made < acquired - SLACK:
            text = f"{word} is earlier than AcquisitionDate: made before it was acquired."
            yield seen.contradiction("date", text, "PS3.3 C.7.6.1 / C.12.1", one.source)
    study = one.dates.get("StudyDate")
    if acquired and study and abs(acquired - study) > timedelta(days=2):
        text = "StudyDate and AcquisitionDate are days apart."
        yield seen.warning("date", text, "PS3.3 C.7.2.1 / C.7.6.1", one.source)
    if one.age_gap is not None and one.age_gap > YEARS:
        text = "The age that is stated does not fit the dates of birth and of the study."
        yield seen.warning("age", text, "PS3.3 C.7.1.1 / C.7.2.2", one.source)


def _shared_uids(files: Sequence[Facts]) -> Iterator[Seen]:
    counts = Counter(one.values["SOPInstanceUID"] for one in files)
    shared = [one.source for one in files if one.values["SOPInstanceUID"] and counts[one.values["SOPInstanceUID"]] > 1]
    if shared:
        yield seen.contradiction("uid-shared", "Several files have one SOP Instance UID.", "PS3.5 9", *shared)


def _strangers(files: Sequence[Facts]) -> Iterator[Seen]:
    """Files in which something differs that is the same in all others."""
    modality = files[0].values["Modality"] if files else ""
    for word, clause in SERIES_FACTS.items():
        if few := _few(files, word, least=2):
            text = f"{word} differs from that of the rest of the series."
            yield seen.contradiction("stranger", text, clause, *few)
    for word, clause in IMAGE_FACTS.items():
        if word not in VARYING.get(modality, ()) and (few := _few(files, word)):
            text = f"{word} differs from that of the rest of the series."
            yield seen.contradiction("stranger", text, clause, *few)
    for word in FILE_FACTS:
        if few := _few(files, word):
            text = f"{FILE_NAMES[word]} differs from that of the rest: these files were written elsewhere."
            yield seen.warning("stranger-file", text, "PS3.10 7.1", *few)


def _few(files: Sequence[Facts], word: str, least: int = FEWEST) -> list[str]:
    """The files whose value is not that of the others, where they are a small part of at least `FEWEST`.

    Args:
        files: the series.
        word: which attribute.
        least: files of a series from which on a single one can differ.
    """
    counts = Counter(one.values[word] for one in files)
    if len(files) < least or len(counts) < 2:
        return []
    usual, number = counts.most_common(1)[0]
    rest = len(files) - number
    if least == FEWEST and rest > max(1, SMALL * len(files)):
        return []
    return [one.source for one in files if one.values[word] != usual]


def _foreign_uids(files: Sequence[Facts]) -> Iterator[Seen]:
    """SOP Instance UIDs from another root than those of the rest: one program numbers one series."""
    roots = {one.source: ".".join(one.values["SOPInstanceUID"].split(".")[:4]) for one in files}
    counts = Counter(roots.values())
    if len(files) < FEWEST or len(counts) < 2:
        return
    usual, number = counts.most_common(1)[0]
    if len(files) - number <= max(1, SMALL * len(files)):
        few = [source for source, root in roots.items() if root != usual]
        text = "SOP Instance UID comes from another root than those of the rest of the series."
        yield seen.warning("uid-root", text, "PS3.5 9.1", *few)


def _numbers(files: Sequence[Facts]) -> Iterator[Seen]:
    """Instance Number is the same in a few files where it is not in the others: a header used twice."""
    counts = Counter(one.values["InstanceNumber"] for one in files if one.values["InstanceNumber"])
    twice = [one.source for one in files if counts[one.values["InstanceNumber"]] > 1]
    if twice and len(files) >= FEWEST and len(twice) <= max(2, SMALL * len(files)):
        text = "Several files have one Instance Number, all others have their own: a header may have been used twice."
        yield seen.warning("header-twice", text, "PS3.3 C.7.6.1", *twice)


def _moments(files: Sequence[Facts]) -> Iterator[Seen]:
    """CT slices at several places with one Content Time to fractions of a second: scanners make one after another.

    No authentic series that was measured has it, and these are few; what makes a series at once may write it: a note.
    """
    places: dict[str, dict[str, str]] = {}
    for one in files:
        values = one.values
        scanned = values["Modality"] == "CT" and values["ImageType"].upper().startswith("ORIGINAL")
        if scanned and dicom.has_fraction(values["ContentTime"]):
            places.setdefault(values["ContentTime"], {})[values["ImagePositionPatient"]] = one.source
    shared = [source for alike in places.values() if len(alike) > 1 for source in alike.values()]
    if shared:
        text = "Slices at several places have one Content Time to fractions of a second."
        yield seen.note("time-shared", text, "PS3.3 C.7.6.1", *shared)


def _day(text: str | None) -> date | None:
    try:
        return datetime.strptime((text or "")[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _age_gap(opened: Opened, study: date | None) -> float | None:
    match = re.fullmatch(r"(\d{3})Y", opened.text("PatientAge") or "")
    birth = _day(opened.text("PatientBirthDate"))
    if match is None or birth is None or study is None:
        return None
    return abs((study - birth).days / 365.25 - int(match[1]) - 0.5)
