"""One DICOM object without its pixels: a bounded parse, the facts that a study needs, and what its pixels must be.

The pixel data is never read here, only located; `check_pixels` compares its place in the file with what the header
declares. Values that cannot be converted count as absent: headers in the wild hold many of them.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from struct import Struct
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_offset_to_value, read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UnsupportedError
from tamperscope.limits import Limits, check_size, inflate
from tamperscope.records import JSON

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
UNDEFINED = 0xFFFFFFFF
PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
VIDEO_SYNTAXES = "1.2.840.10008.1.2.4.10"
"""MPEG-2, MPEG-4 and HEVC: 1.2.840.10008.1.2.4.100 to .108 (PS3.6 A-1)."""

NOT_IMAGES = {
    "SR": "structured report",
    "PR": "presentation state",
    "KO": "key object selection",
    "SEG": "segmentation, derived from other images",
    "RTSTRUCT": "radiotherapy structure set",
    "RTPLAN": "radiotherapy plan",
    "RTRECORD": "radiotherapy treatment record",
    "RTDOSE": "radiotherapy dose grid",
    "RWV": "real world value map",
    "REG": "registration",
    "FID": "fiducials",
    "DOC": "encapsulated document",
    "ECG": "waveform",
    "EPS": "waveform",
    "HD": "waveform",
    "AU": "audio",
    "PLAN": "plan",
}
LOCALISERS = ("LOCALIZER", "SCOUT", "TOPOGRAM")
CLASS_MODALITIES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.1": "CR",
}
TEXT_FACTS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "body_part": "BodyPartExamined",
    "photometric": "PhotometricInterpretation",
    "synthetic_data": "SyntheticData",
    "burned_in_annotation": "BurnedInAnnotation",
    "sop_class_uid": "SOPClassUID",
    "view_position": "ViewPosition",
}
LIST_FACTS = {"kernel": "ConvolutionKernel", "software_versions": "SoftwareVersions", "image_type": "ImageType"}
NUMBER_FACTS = {
    "slice_thickness_mm": "SliceThickness",
    "kvp": "KVP",
    "lossy_ratio": "LossyImageCompressionRatio",
}
INTEGER_FACTS = {
    "bits_stored": "BitsStored",
    "bits_allocated": "BitsAllocated",
    "rows": "Rows",
    "columns": "Columns",
    "series_number": "SeriesNumber",
}
OTHER_KEYWORDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "Modality",
    "InstanceNumber",
    "NumberOfFrames",
    "SamplesPerPixel",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "PixelPaddingValue",
    "LossyImageCompression",
    "ContributingEquipmentSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "DirectoryRecordSequence",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentTime",
)
MOMENT = ("Manufacturer", "ManufacturerModelName", "AcquisitionDate", "ImagePositionPatient")
TIMES = ("AcquisitionTime", "AcquisitionDateTime", "ContentTime")
FRACTION = re.compile(r"\.[0-9]*[1-9]")
"""Of a second, in a time (PS3.5 6.2, TM and DT)."""
PALETTES = tuple(f"{channel}PaletteColorLookupTable" for channel in ("Red", "Green", "Blue"))
PALETTE_KEYWORDS = (
    *(f"{name}Descriptor" for name in PALETTES),
    *(f"{name}Data" for name in PALETTES),
    *(f"Segmented{name}Data" for name in PALETTES),
)
MAX_EQUIPMENT = 32
OWN_MANUFACTURER = "tamperscope"
"""Who made a result object, in its Contributing Equipment."""
RESULT_PURPOSE = ("1630", "99IHE")
"""Purpose of Reference "Processing Algorithm", IHE AI Results 6.5.3.1; a forgery has (109100, DCM) instead."""
RESULT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.7": "OT",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.30": "OT",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
}
"""SOP classes of result objects that are images, with the modality that they state: none of an acquisition."""
RESULT_DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.88.34": "SR",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.59": "KO",  # Key Object Selection
    "1.2.840.10008.5.1.4.1.1.11.1": "PR",  # Grayscale Softcopy Presentation State
}
OWN_RESULT = "a result of tamperscope"


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data lies: ``length`` bytes from ``offset`` of the stream (`UNDEFINED` if encapsulated)."""

    keyword: str
    vr: str | None
    offset: int
    length: int

    @property
    def tag(self) -> int:
        """Its tag as a number."""
        return next(tag for tag, keyword in PIXEL_KEYWORDS.items() if keyword == self.keyword)


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A DICOM object up to its pixel data; ``data`` are the file's bytes, inflated if its data set is deflated."""

    source: str
    dataset: Dataset
    data: bytes
    pixels: PixelElement | None
    transfer_syntax: UID

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, rows, columns, samples) as declared; zero where absent."""
        rows, columns = integer(self.dataset, "Rows") or 0, integer(self.dataset, "Columns") or 0
        return frames(self.dataset), rows, columns, integer(self.dataset, "SamplesPerPixel") or 1


@dataclass(frozen=True, slots=True)
class Header:
    """What grouping and sorting need of one object; ``facts`` go into the header of its series."""

    study_uid: str | None
    series_uid: str | None
    sop_instance_uid: str | None
    modality: str
    instance_number: int | None
    shape: tuple[int, int, int, int]
    """(frames, rows, columns, samples)."""
    orientation: tuple[float, ...] | None
    """ImageOrientationPatient: direction of a row, then of a column."""
    position: tuple[float, ...] | None
    """ImagePositionPatient, millimetres in LPS."""
    moment: str | None = None
    """See `Instance.moment`."""
    facts: dict[str, JSON] = field(default_factory=dict)


def is_dicom(data: bytes) -> bool:
    """Whether bytes are a DICOM file (PS3.10 7.1), or begin like a data set that lost its preamble."""
    if data[128:132] == b"DICM":
        return True
    # Group 0002 or 0008, little or big endian, with a small element number.
    little = data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00"
    return little or data[:3] in (b"\x00\x02\x00", b"\x00\x08\x00")


def parse(data: bytes, source: str, limits: Limits, *, whole: bool = False) -> Parsed:
    """Parse the elements that matter, up to the pixel data; a deflated data set is inflated within ``limits``.

    Args:
        data: the bytes of the file.
        source: what errors call it.
        limits: what it may ask for.
        whole: keep every element, not only those that a study needs.

    Raises:
        UnreadableError: the header is damaged.
        LimitError: a deflated data set grows beyond ``limits``, or the header asks for too much memory.
    """
    try:
        return _parse(data, source, limits, None if whole else _tags())
    except TamperscopeError:
        raise
    except MemoryError as error:
        raise LimitError(f"{source}: the header asks for more memory than there is", hint="do not trust it") from error
    # pydicom raises many types on damage: struct.error, KeyError, RecursionError, its own ...
    except Exception as error:
        raise UnreadableError(
            f"{source}: damaged DICOM header ({type(error).__name__})", hint="fetch the file again"
        ) from error


def _parse(data: bytes, source: str, limits: Limits, tags: list[BaseTag | int] | None) -> Parsed:
    stop = _PixelStop()
    stream = BytesIO(data)
    read_preamble(stream, force=True)
    # PS3.10 7.1: the meta information is always explicit VR little endian. It is read apart from the rest because
    # pydicom would inflate a deflated data set without a bound.
    meta = FileMetaDataset(read_dataset(stream, False, True, stop_when=_past_meta))
    syntax = UID(str(meta.get("TransferSyntaxUID", "")))
    if syntax == DeflatedExplicitVRLittleEndian:
        data = inflate(stream.read(), source, limits, wbits=-15)
        stream = BytesIO(data)
        dataset = read_dataset(stream, False, True, stop_when=stop, specific_tags=tags)
        dataset.set_original_encoding(False, True, None)
    else:
        stream.seek(0)
        dataset = read_partial(stream, stop_when=stop, force=True, specific_tags=tags)
        syntax = syntax or _guess(dataset)
    dataset.file_meta = meta
    return Parsed(source, dataset, data, stop.found(stream.tell()), syntax)


def _past_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


class _PixelStop:
    """Stop condition of pydicom's reader that remembers the element at which it stopped."""

    def __init__(self) -> None:
        self._element: tuple[int, str | None, int] | None = None

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        if int(tag) in PIXEL_KEYWORDS:
            self._element = int(tag), vr, length
            return True
        return False

    def found(self, start: int) -> PixelElement | None:
        if self._element is None:
            return None
        tag, vr, length = self._element
        return PixelElement(PIXEL_KEYWORDS[tag], vr, start + data_element_offset_to_value(vr is None, vr), length)


@cache
def _tags() -> list[BaseTag | int]:
    keywords = (
        *TEXT_FACTS.values(),
        *LIST_FACTS.values(),
        *NUMBER_FACTS.values(),
        *INTEGER_FACTS.values(),
        *OTHER_KEYWORDS,
        *PALETTE_KEYWORDS,
    )
    return [tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None]


def _guess(dataset: Dataset) -> UID:
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else UID("1.2.840.10008.1.2.2")


def value(dataset: Dataset, keyword: str) -> Any:
    """The value of an element; None if it is absent, empty or cannot be converted."""
    try:
        found = dataset.get(keyword)
    # Conversion is lazy and raises whatever the damage leads to.
    except Exception:
        return None
    return None if found is None or found == "" else found


def text(dataset: Dataset, keyword: str) -> str | None:
    """The value as a string, several values joined by a backslash as they are stored."""
    found = value(dataset, keyword)
    if found is None:
        return None
    parts = found if isinstance(found, Sequence) and not isinstance(found, str | bytes) else [found]
    return "\\".join(str(part) for part in parts).strip() or None


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None."""
    found = value(dataset, keyword)
    if found is None:
        return None
    try:
        parts = tuple(float(part) for part in (found if isinstance(found, Sequence) else [found]))
    except (TypeError, ValueError, OverflowError):
        return None
    return parts if len(parts) == count and all(math.isfinite(part) for part in parts) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """One whole number, or None."""
    found = number(dataset, keyword)
    return int(found) if found is not None else None


def frames(dataset: Dataset) -> int:
    """Number of Frames; an absent or impossible one counts as 1."""
    return max(1, integer(dataset, "NumberOfFrames") or 1)


def item(dataset: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    """One item of a sequence, or None."""
    found = value(dataset, keyword) if dataset is not None else None
    if not isinstance(found, Sequence) or isinstance(found, str | bytes) or index >= len(found):
        return None
    entry = found[index]
    return entry if isinstance(entry, Dataset) else None


def group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """The functional group of one frame, from the per-frame or the shared ones (PS3.3 C.7.6.16)."""
    per_frame = item(item(dataset, "PerFrameFunctionalGroupsSequence", frame), keyword)
    return per_frame or item(item(dataset, "SharedFunctionalGroupsSequence"), keyword)


def is_result(dataset: Dataset) -> bool:
    """Whether an object is a result of this program, by its class, Image Type, modality and Contributing Equipment.

    The equipment alone is not enough: a forger could hide an image from the scan by pasting it there. An object that
    claims an acquisition is never a result.
    """
    sop_class, modality = text(dataset, "SOPClassUID") or "", text(dataset, "Modality")
    image_type = (text(dataset, "ImageType") or "").split("\\")
    derived = RESULT_IMAGES.get(sop_class) == modality and image_type[0] == "DERIVED"
    if not derived and RESULT_DOCUMENTS.get(sop_class) != modality:
        return False
    return any(_is_own(item(dataset, "ContributingEquipmentSequence", index)) for index in range(MAX_EQUIPMENT))


def _is_own(equipment: Dataset | None) -> bool:
    purpose = item(equipment, "PurposeOfReferenceCodeSequence")
    if equipment is None or purpose is None or text(equipment, "Manufacturer") != OWN_MANUFACTURER:
        return False
    return (text(purpose, "CodeValue"), text(purpose, "CodingSchemeDesignator")) == RESULT_PURPOSE


def skip_reason(parsed: Parsed) -> str | None:
    """Why an object is no image to analyse, or None."""
    dataset = parsed.dataset
    sop_class = sop_class_of(parsed)
    if sop_class == DICOMDIR_CLASS:
        return "index of a DICOM medium; the files it names are read themselves"
    if is_result(dataset):
        return OWN_RESULT
    modality = text(dataset, "Modality") or ""
    if modality in NOT_IMAGES:
        return f"{modality}: {NOT_IMAGES[modality]}, not an image"
    if any(word in (text(dataset, "ImageType") or "").upper() for word in LOCALISERS):
        return "localiser image"
    if parsed.pixels is None and not _claims_image(parsed):
        return f"no pixel data ({UID(sop_class).name or 'unknown SOP class'})"
    return None


def sop_class_of(parsed: Parsed) -> str:
    """SOP Class UID, from the data set or the meta information; empty if neither has it."""
    meta: Dataset = parsed.dataset.file_meta
    return text(parsed.dataset, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID") or ""


def _claims_image(parsed: Parsed) -> bool:
    return "Rows" in parsed.dataset or "Columns" in parsed.dataset or "Image Storage" in UID(sop_class_of(parsed)).name


def check_pixels(parsed: Parsed, limits: Limits) -> PixelElement:
    """Compare the pixel data with the size that the header declares, without reading it (PS3.5 8).

    Raises:
        UnreadableError: absent, cut short, or shorter than declared.
        LimitError: more samples than ``max_pixels`` are declared.
        UnsupportedError: a video.
    """
    source, pixels = parsed.source, parsed.pixels
    _, rows, columns, samples = parsed.shape
    if not parsed.transfer_syntax.is_transfer_syntax:
        raise UnsupportedError(
            f"{source}: unknown transfer syntax {parsed.transfer_syntax or 'none'}",
            hint="export as explicit VR little endian",
        )
    if parsed.transfer_syntax.startswith(VIDEO_SYNTAXES):
        raise UnsupportedError(
            f"{source}: video ({parsed.transfer_syntax.name})", hint="export the frames as images first"
        )
    if pixels is None:
        raise UnreadableError(f"{source}: an image without pixel data, or cut short before it", hint="fetch it again")
    if rows <= 0 or columns <= 0 or samples not in (1, 3):
        raise UnreadableError(
            f"{source}: impossible size of {rows} rows, {columns} columns, {samples} samples", hint="fetch it again"
        )
    check_size(source, parsed.shape, limits)
    if pixels.length == UNDEFINED:
        _check_fragments(parsed, pixels)
    else:
        _check_length(parsed, pixels)
    return pixels


def _check_length(parsed: Parsed, pixels: PixelElement) -> None:
    if parsed.transfer_syntax.is_compressed and not parsed.transfer_syntax.is_deflated:
        raise UnreadableError(f"{parsed.source}: compressed pixel data is not encapsulated", hint="export it again")
    bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(
        pixels.keyword, integer(parsed.dataset, "BitsAllocated") or 0
    )
    if bits not in (1, 8, 16, 32, 64):
        raise UnsupportedError(f"{parsed.source}: {bits} bits allocated", hint="8, 16 and 32 are read")
    expected = math.ceil(math.prod(parsed.shape) * bits / 8)
    if text(parsed.dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        # PS3.3 C.7.6.3.1.2: two chrominance samples for two pixels instead of four.
        expected = expected * 2 // 3
    got = min(pixels.length, len(parsed.data) - pixels.offset)
    if got < expected or len(parsed.data) - pixels.offset < pixels.length:
        wanted = max(expected, pixels.length)
        raise UnreadableError(
            f"{parsed.source}: pixel data is cut short: {wanted} bytes expected, {got} are there",
            hint="fetch the file again",
        )


def fragments(parsed: Parsed, pixels: PixelElement) -> tuple[list[tuple[int, int]], int]:
    """Where the items of encapsulated pixel data lie (offset and length of each), and where the whole of them ends.

    The first item is the offset table (PS3.5 A.4).

    Raises:
        UnreadableError: damaged, or cut short.
    """
    header = Struct("<HHL")
    found: list[tuple[int, int]] = []
    offset = pixels.offset
    while offset + header.size <= len(parsed.data):
        tag_group, element, length = header.unpack_from(parsed.data, offset)
        if (tag_group, element) == (0xFFFE, 0xE0DD):
            return found, offset + header.size
        if (tag_group, element) != (0xFFFE, 0xE000):
            raise _no_fragments(parsed, f"damaged at byte {offset}")
        found.append((offset + header.size, length))
        offset += header.size + length
    raise _no_fragments(parsed, "cut short")


def _no_fragments(parsed: Parsed, reason: str) -> UnreadableError:
    return UnreadableError(f"{parsed.source}: compressed pixel data: {reason}", hint="fetch the file again")


def _check_fragments(parsed: Parsed, pixels: PixelElement) -> None:
    """Compare the number of items with that of the frames; a frame takes one item or more."""
    if not parsed.transfer_syntax.is_encapsulated:
        raise UnreadableError(
            f"{parsed.source}: pixel data of undefined length in {parsed.transfer_syntax.name}",
            hint="export it again",
        )
    items = max(len(fragments(parsed, pixels)[0]) - 1, 0)
    if items < parsed.shape[0]:
        raise _no_fragments(parsed, f"{parsed.shape[0]} frames declared, {items} there")


def read_header(parsed: Parsed) -> Header:
    """Collect what grouping, sorting and the report need. Nothing in it identifies the patient."""
    dataset = parsed.dataset
    enhanced = parsed.shape[0] > 1 or "SharedFunctionalGroupsSequence" in dataset
    plane = group(dataset, 0, "PlanePositionSequence") if enhanced else None
    orientation = group(dataset, 0, "PlaneOrientationSequence") if enhanced else None
    return Header(
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        modality=text(dataset, "Modality") or CLASS_MODALITIES.get(sop_class_of(parsed), "OT"),
        instance_number=integer(dataset, "InstanceNumber"),
        shape=parsed.shape,
        orientation=orthonormal(numbers(orientation or dataset, "ImageOrientationPatient", 6)),
        position=numbers(plane or dataset, "ImagePositionPatient", 3),
        moment=_moment(dataset),
        facts=_facts(parsed),
    )


def has_fraction(time: str | None) -> bool:
    """Whether a time is stated to fractions of a second: two acquisitions hardly share such a one by chance."""
    return FRACTION.search(time or "") is not None


def _moment(dataset: Dataset) -> str | None:
    times = [text(dataset, keyword) for keyword in TIMES]
    if not any(has_fraction(time) for time in times):
        return None
    stated = (*times, *(text(dataset, keyword) for keyword in MOMENT))
    return hashlib.sha256("\0".join(part or "" for part in stated).encode()).hexdigest()


def orthonormal(orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """ImageOrientationPatient if its two directions are unit vectors at a right angle (PS3.3 C.7.6.2.1.1)."""
    if orientation is None:
        return None
    axes = np.array(orientation).reshape(2, 3)
    return orientation if np.allclose(axes @ axes.T, np.eye(2), atol=0.01) else None


def _facts(parsed: Parsed) -> dict[str, JSON]:
    dataset = parsed.dataset
    facts: dict[str, JSON] = {name: text(dataset, keyword) for name, keyword in TEXT_FACTS.items()}
    facts |= {name: integer(dataset, keyword) for name, keyword in INTEGER_FACTS.items()}
    facts |= {name: number(dataset, keyword) for name, keyword in NUMBER_FACTS.items()}
    for name, keyword in LIST_FACTS.items():
        joined = text(dataset, keyword)
        facts[name] = list(joined.split("\\")) if name == "image_type" and joined else joined
    facts["sop_class_uid"] = sop_class_of(parsed) or None
    facts["transfer_syntax_uid"] = str(parsed.transfer_syntax)
    facts["lossy"] = text(dataset, "LossyImageCompression") == "01"
    measures = group(dataset, 0, "PixelMeasuresSequence")
    if facts["slice_thickness_mm"] is None and measures is not None:
        facts["slice_thickness_mm"] = number(measures, "SliceThickness")
    facts["contributing_equipment"] = _equipment(dataset)
    return facts


def _equipment(dataset: Dataset) -> list[JSON]:
    """Contributing Equipment (PS3.3 C.12.1, (0018,A001)): who else had a hand in the image, and what for."""
    found: list[JSON] = []
    for index in range(MAX_EQUIPMENT):
        entry = item(dataset, "ContributingEquipmentSequence", index)
        if entry is None:
            break
        code = item(entry, "PurposeOfReferenceCodeSequence") or Dataset()
        purpose = " ".join(part for part in (text(code, "CodeValue"), text(code, "CodeMeaning")) if part)
        found.append(
            {
                "purpose": purpose,
                "manufacturer": text(entry, "Manufacturer"),
                "model": text(entry, "ManufacturerModelName"),
            }
        )
    return found


# --- whole headers, for what is written beside a source ---


@contextmanager
def mapped(source: str) -> Iterator[None]:
    """Elements that pydicom can carry but not convert become our error; its warnings, which quote them, are dropped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (TamperscopeError, OSError):
        raise
    except Exception as error:
        raise UnsupportedError(
            f"{source}: its header cannot be written again ({type(error).__name__})",
            hint="export the series as explicit VR little endian first",
        ) from error


def whole_header(data: bytes, source: str) -> Dataset:
    """All elements of an object as they stand in its bytes, but for the pixels.

    Raises:
        UnsupportedError: the header cannot be carried over.
    """
    with mapped(source):
        dataset = dcmread(BytesIO(data), force=True, stop_before_pixels=True)
        return dataset if dataset.original_encoding[1] else _little_endian(dataset)


def _little_endian(dataset: Dataset) -> Dataset:
    """The same elements without a memory of big endian, in which pydicom would refuse to write them otherwise."""
    for element in dataset.iterall():
        # pydicom carries the values of OW as bytes, and does not turn them.
        if element.VR == "OW" and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    plain = Dataset({tag: dataset[tag] for tag in dataset.keys()})  # noqa: SIM118  gives tags
    plain.file_meta = dataset.file_meta
    return plain


def derived_uid(*parts: str) -> str:
    """The UID under 2.25 (PS3.5 B.2) that stands for these words, always the same one."""
    return f"2.25.{int.from_bytes(hashlib.sha256('/'.join(parts).encode()).digest()[:16], 'big')}"
