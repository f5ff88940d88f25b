"""The concepts that the result objects speak in: DICOM's own where there are some, else those of a private scheme.

No concept of DICOM says that an image was tampered with, so the verdict has codes of its own (PS3.3 8.2: a private
Coding Scheme Designator begins with 99). They are declared in every object that uses them, by `scheme`.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

SCHEME = "99TAMPERSCOPE"
SCHEME_NAME = "tamperscope: tampering with medical images"
RESPONSIBLE = "tamperscope"


def _private(value: str, meaning: str) -> Code:
    return Code(value, SCHEME, meaning)


VERDICT = _private("TS100", "Tampering verdict")
SUSPICIOUS = _private("TS101", "Suspicious: signs of tampering found")
NO_EVIDENCE = _private("TS102", "No evidence of tampering found")
INCONCLUSIVE = _private("TS103", "Inconclusive")
REASON = _private("TS104", "Reason for the verdict")
THRESHOLD = _private("TS110", "Threshold of suspicion, on the probability of tampering")
FALSE_ALARMS = _private("TS111", "False alarms per authentic series")
MISSES = _private("TS112", "Share of simulated forgeries missed")
MANIPULATION = _private("TS120", "Suspected image manipulation")
PROBABILITY_OF_TAMPERING = _private("TS121", "Probability of tampering")
CENTRE_X = _private("TS130", "Centre of the region, x in the patient (LPS)")
CENTRE_Y = _private("TS131", "Centre of the region, y in the patient (LPS)")
CENTRE_Z = _private("TS132", "Centre of the region, z in the patient (LPS)")
CENTRE_COLUMN = _private("TS133", "Centre of the region, column of the image")
CENTRE_ROW = _private("TS134", "Centre of the region, row of the image")
PROVENANCE = _private("TS140", "Provenance as stated by the file")
PROVENANCE_VERIFIED = _private("TS141", "Provenance verified")
PROVENANCE_ABSENT = _private("TS142", "No statement of provenance")
PROVENANCE_BROKEN = _private("TS143", "Provenance broken")
PROVENANCE_CONTRADICTORY = _private("TS144", "Provenance contradictory")

VERDICTS = {"suspicious": SUSPICIOUS, "no_evidence": NO_EVIDENCE, "inconclusive": INCONCLUSIVE}
PROVENANCES = {
    "verified": PROVENANCE_VERIFIED,
    "absent": PROVENANCE_ABSENT,
    "broken": PROVENANCE_BROKEN,
    "contradictory": PROVENANCE_CONTRADICTORY,
}

PROBABILITY = Code("122157", "DCM", "Probability")
OF_INTEREST = Code("113000", "DCM", "Of Interest")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
"""Algorithm family, CID 7162."""
SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")
"""Segmented property category, CID 7150: a region is a place, not a structure of the body."""
DIAMETER = Code("81827009", "SCT", "Diameter")
DEVICE = Code("121007", "DCM", "Device")
PROCESSING_ALGORITHM = Code("1630", "99IHE", "Processing Algorithm")
"""Purpose of Reference of a Contributing Equipment item, IHE AI Results 6.5.3.1."""
SOURCE_OF_CAPTURE = Code("121322", "DCM", "Source image for image processing operation")
"""Purpose of Reference of a source image, CID 7202."""
NO_UNITS = Code("1", "UCUM", "no units")
MILLIMETRES = Code("mm", "UCUM", "mm")
PIXELS = Code("{pixels}", "UCUM", "pixels")

_X_RAY = Code("43468-8", "LN", "XR unspecified body region")
_PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    **dict.fromkeys(("CR", "DX", "MG", "RG", "PX", "IO", "RF", "XA"), _X_RAY),
}
_ANY_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")


def procedure(modality: str) -> Code:
    """The imaging procedure that a series comes from (CID 100), as far as its modality tells."""
    return _PROCEDURES.get(modality, _ANY_PROCEDURE)


def code_table() -> tuple[tuple[str, str, str], ...]:
    """(value, designator, meaning) of every private code, for documentation."""
    found = [code for code in globals().values() if isinstance(code, Code) and code.scheme_designator == SCHEME]
    return tuple(sorted((code.value, code.scheme_designator, code.meaning) for code in found))


def scheme() -> Dataset:
    """The item of the Coding Scheme Identification Sequence (0008,0110) that declares the scheme (PS3.3 C.12.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = RESPONSIBLE
    return item


def item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return entry
