"""Provenance: what the header says of its own origin. A separate axis of the verdict, never part of the score."""

from __future__ import annotations

from collections.abc import Mapping

from tamperscope.records import JSON, Finding, Provenance

SYNTHESIZING, MODIFYING = "109100", "109103"
"""Purposes of Contributing Equipment (DICOM PS3.16 CID 7005) by which a writer owns up to it."""
PURPOSES = {SYNTHESIZING: "Synthesizing Equipment (109100, DCM)", MODIFYING: "Modifying Equipment (109103, DCM)"}


def provenance(header: Mapping[str, JSON]) -> Provenance:
    """What the header facts of a series declare about synthesis, editing and loss.

    The state is "contradictory" where a header that calls itself ORIGINAL also names a device that made or edited the
    picture (PS3.3 C.7.6.1.1.2 against C.12.1.1.5), else "absent": nothing here can be verified, and that is not guilt.
    """
    findings = []
    if header.get("synthetic_data") == "YES":
        text = "The header declares Synthetic Data (0008,001C) = YES."
        findings.append(Finding("synthetic-data", "warning", text, "PS3.3 C.12.1"))
    makers = [PURPOSES[code] for code in _purposes(header) if code in PURPOSES]
    for maker in makers:
        text = f"Contributing Equipment names {maker}."
        findings.append(Finding("contributing-equipment", "warning", text, "PS3.3 C.12.1.1.5"))
    if header.get("lossy"):
        text = "The header declares lossy compression (0028,2110): fine traces may be gone."
        findings.append(Finding("lossy", "note", text, "PS3.3 C.7.6.1.1.5"))
    image_type = header.get("image_type")
    original = isinstance(image_type, list) and image_type[:1] == ["ORIGINAL"]
    if original and makers:
        text = "Image Type (0008,0008) says ORIGINAL although such equipment took part."
        findings.append(Finding("image-type", "warning", text, "PS3.3 C.7.6.1.1.2"))
        return Provenance("contradictory", tuple(findings))
    return Provenance("absent", tuple(findings))


def _purposes(header: Mapping[str, JSON]) -> list[str]:
    equipment = header.get("contributing_equipment")
    if not isinstance(equipment, list):
        return []
    stated = [str(item.get("purpose", "")) for item in equipment if isinstance(item, dict)]
    return [code for text in stated for code in PURPOSES if code in text]
