"""Who made a result object, of what, and when: UIDs, equipment, and the modules that every kind has in common.

UIDs follow from the input, the models and the kind, so that the same scan sent twice is one object in the archive
(PS3.5 B.2); other pixels, other weights or another operating point make other ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

import tamperscope
from tamperscope.formats import dicom
from tamperscope.formats.dicom import derived_uid
from tamperscope.records import SeriesResult, Volume
from tamperscope.weights import Card, calibration_bytes

from . import codes
from .sources import Sources

MANUFACTURER = dicom.OWN_MANUFACTURER
IMPLEMENTATION_CLASS_UID = derived_uid("implementation", "tamperscope")
"""(0002,0012), and on the network: that of this program, not of the libraries it is built on (PS3.7 D.3.3.2)."""
IMPLEMENTATION_VERSION = f"TSCOPE_{tamperscope.__version__}"[:16]
CHARACTER_SET = "ISO_IR 192"
"""UTF-8 holds what any source says, and our own words."""
LONG_STRING, SHORT_STRING = 64, 16
"""Characters of VR LO, and of SH and CS (PS3.5 6.2)."""
KIND_NAMES = {
    "sr": "SR",
    "seg": "SEG",
    "capture": "capture",
    "keys": "key images",
    "heatmap": "heat map",
    "presentation": "presentation state",
}
FIRST_SERIES_NUMBER = 90_000
PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence"),
    *("PatientBirthTime", "EthnicGroup", "PatientComments", "PatientSpeciesDescription", "ResponsiblePerson"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "StudyDescription", "ProcedureCodeSequence"),
    *("PatientAge", "PatientSize", "PatientWeight"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID"),
)
"""Patient, General Study, Patient Study and Clinical Trial modules (PS3.3 C.7.1.1, C.7.2.1 to C.7.2.3)."""
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Empty where the source does not say."""
CLOCKS = ("InstanceCreation", "Content", "PresentationCreation", "OfSecondaryCapture")
"""What has a Date and a Time that say when the object was made."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
IMAGE_KINDS = ("seg", "heatmap", "capture")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One series with its result: what every kind of object is made from."""

    sources: Sources
    volume: Volume
    result: SeriesResult
    models: tuple[Card, ...]
    """Those that took part, the deciding one first."""
    when: datetime

    @property
    def device_uid(self) -> str:
        """Of the device that all models together are; that of the model if there is one."""
        return device_uid(self.models)

    @property
    def model_names(self) -> str:
        """For a text of 64 characters."""
        return ", ".join(model.name for model in self.models)[:LONG_STRING] or MANUFACTURER

    def uid(self, *parts: str) -> str:
        """A UID of this input under these models at this operating point, for what ``parts`` name."""
        point = self.result.operating_point
        border = "none" if point is None else f"{point.false_positive_rate!r} {point.threshold!r}"
        source = (self.sources.study, self.sources.series, self.volume.digest)
        return derived_uid(*parts, *source, self.device_uid, border, tamperscope.__version__)

    def region_uid(self, number: int) -> str:
        """Tracking UID (0062,0021) of region ``number``, counted from 1."""
        return self.uid("region", str(number))

    def made(self, kind: str, *, variant: str = "") -> dict[str, Any]:
        """Identity of the object of a kind, as highdicom's constructors take it.

        Args:
            kind: one of `KIND_NAMES`.
            variant: what else its content depends on.
        """
        number = dicom.integer(self.sources.headers[0], "SeriesNumber") or 0
        return {
            "series_instance_uid": self.uid("series", kind, variant),
            "sop_instance_uid": self.uid("instance", kind, variant),
            "series_number": FIRST_SERIES_NUMBER + abs(number) % 1000 * 10 + list(KIND_NAMES).index(kind),
            "instance_number": 1,
            "series_description": f"tamperscope {KIND_NAMES[kind]} - not for diagnosis, research only"[:LONG_STRING],
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.model_names,
            "software_versions": tamperscope.__version__,
            "device_serial_number": self.device_uid.removeprefix("2.25.")[:LONG_STRING],
        }

    def parameters(self) -> tuple[str, ...]:
        """What the answer depends on, each as "name: value" in ASCII (TID 4019, Algorithm Parameters)."""
        found = []
        for model in self.models:
            found.append(f"weights sha256 of {model.name}: {model.sha256}")
            found.append(f"calibration sha256 of {model.name}: {_calibration(model)}")
        point = self.result.operating_point
        if point is not None:
            found.append(f"threshold on the calibrated probability: {point.threshold:.6g}")
            found.append(f"false alarms per authentic series: {point.false_positive_rate:.6g}")
        return tuple(found)

    def algorithm(self) -> tuple[str, str]:
        """Name and version of the algorithm (PS3.3 10.16): the deciding model's."""
        if not self.models:
            return MANUFACTURER, tamperscope.__version__
        return self.models[0].name[:LONG_STRING], self.models[0].version[:LONG_STRING]

    def finish(self, dataset: Dataset, kind: str) -> Dataset:
        """Complete an object in place: what all kinds share, from the source and from this program.

        Patient and study (PS3.3 C.7.1.1, C.7.2.1), Contributing Equipment, Synthetic Data and coding scheme (C.12.1),
        Device UID (C.7.5.1), and clocks that say ``when``. Nothing of the patient is invented: what the source does not
        say stays empty.
        """
        self.sources.restore(dataset)
        header = self.sources.headers[0]
        dataset.SpecificCharacterSet = CHARACTER_SET
        for keyword in PATIENT_AND_STUDY:
            copy(header, dataset, keyword)
        for keyword in TYPE_2:
            if keyword not in dataset:
                setattr(dataset, keyword, None)
        dataset.StudyInstanceUID = self.sources.study
        if kind in IMAGE_KINDS or kind == "presentation":
            _body(header, dataset, kind)
        if any(dicom.text(each, "SyntheticData") == "YES" for each in self.sources.headers):
            dataset.SyntheticData = "YES"
        dataset.DeviceUID = self.device_uid
        dataset.ContributingEquipmentSequence = Items(self._equipment())
        dataset.CodingSchemeIdentificationSequence = Items([codes.scheme()])
        for clock in CLOCKS:
            for part, pattern in (("Date", "%Y%m%d"), ("Time", "%H%M%S")):
                keyword = f"{part}{clock}" if clock.startswith("Of") else f"{clock}{part}"
                if keyword in dataset:
                    setattr(dataset, keyword, self.when.strftime(pattern))
        meta = dataset.file_meta
        meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
        meta.ImplementationVersionName = IMPLEMENTATION_VERSION
        return dataset

    def _equipment(self) -> list[Dataset]:
        """An item a model (IHE AI Results 6.5.3.1)."""
        items = []
        for number in range(max(len(self.models), 1)):
            part = self.models[number : number + 1]
            item = Dataset()
            item.PurposeOfReferenceCodeSequence = Items([codes.item(codes.PROCESSING_ALGORITHM)])
            item.Manufacturer = MANUFACTURER
            item.ManufacturerModelName = part[0].name[:LONG_STRING] if part else MANUFACTURER
            versions = [tamperscope.__version__, *(model.version[:LONG_STRING] for model in part)]
            item.SoftwareVersions = versions if len(versions) > 1 else versions[0]
            item.DeviceUID = device_uid(part)
            item.ContributionDescription = "Looked for signs of tampering. Not for diagnosis, research use only."
            items.append(item)
        return items


def device_uid(models: Sequence[Card]) -> str:
    """Device UID (0018,1002): another one as soon as weights or calibration differ (IHE AI Results 6.5.3.1)."""
    return derived_uid(
        "device", *(part for model in models for part in (model.name, model.sha256, _calibration(model)))
    )


def _calibration(model: Card) -> str:
    return hashlib.sha256(calibration_bytes(model.calibration)).hexdigest()


def _body(header: Dataset, dataset: Dataset, kind: str) -> None:
    """What a display needs to say which side is which (PS3.3 C.7.3.1, C.7.6.1): from the source, or empty."""
    copy(header, dataset, "BodyPartExamined")
    if dataset.SOPClassUID != SEGMENTATION:
        # Type 2C, and present only where the side is not plain from the part of the body (PS3.3 C.7.3.1).
        stated = (dicom.text(header, "Laterality"), dicom.text(header, "ImageLaterality"))
        side = next((one for one in stated if one in ("L", "R")), "")
        if side or "BodyPartExamined" not in dataset:
            dataset.Laterality = side
    if kind in IMAGE_KINDS:
        copy(header, dataset, "BurnedInAnnotation")
    if kind != "presentation" and "PatientOrientation" not in dataset:
        dataset.PatientOrientation = None
        if kind != "capture":
            copy(header, dataset, "PatientOrientation")


def copy(source: Dataset, target: Dataset, keyword: str) -> None:
    """Copy an element that can be read and written, as UTF-8; any other counts as absent."""
    try:
        if keyword not in source:
            return
        element = source[keyword]
        fresh = DataElement(element.tag, element.VR, element.value)
        if element.VR == "SQ":
            fresh.value = Items([_decoded(item) for item in element.value])
        elif element.VR == "PN":
            fresh.value = str(element.value) if element.VM <= 1 else [str(name) for name in element.value]
        write_data_element(_sink(), fresh, ["utf8"])
    # Conversion is lazy and raises whatever the damage leads to.
    except Exception:
        return
    target.add(fresh)


def _sink() -> DicomBytesIO:
    sink = DicomBytesIO()
    sink.is_little_endian, sink.is_implicit_VR = True, False
    return sink


def _decoded(item: Dataset) -> Dataset:
    """An item of a sequence with its text as Unicode, to be encoded anew; private elements stay behind."""
    fresh = Dataset()
    for tag in item.keys():  # noqa: SIM118  gives tags
        if keyword := keyword_for_tag(tag):
            copy(item, fresh, keyword)
    fresh.pop("SpecificCharacterSet", None)
    return fresh
