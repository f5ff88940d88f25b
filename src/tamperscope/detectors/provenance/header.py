"""What a DICOM header declares of synthesis, derivation and loss, and where that contradicts itself.

A header copied from another image is easy to make, so an agreeing header proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from tamperscope.detectors.provenance import seen
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.formats import dicom

SYNTHESIZING, MODIFYING = "109100", "109103"
"""Purposes of Contributing Equipment (DICOM PS3.16 CID 7005) by which a writer owns up to it."""
PURPOSES = {SYNTHESIZING: "Synthesizing Equipment (109100, DCM)", MODIFYING: "Modifying Equipment (109103, DCM)"}
IMAGE_TYPE, EQUIPMENT = "PS3.3 C.7.6.1.1.2", "PS3.3 C.12.1.1.5"
LOSSY, DERIVATION = "PS3.3 C.7.6.1.1.5", "PS3.3 C.7.6.1.1.3"
ALWAYS_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
"""Transfer syntaxes that lose something whatever is put in; a lossy JPEG 2000 syntax may hold a lossless stream."""
METHODS = {
    "ISO_10918_1": (JPEGBaseline8Bit, JPEGExtended12Bit),
    "ISO_14495_1": (JPEGLSNearLossless,),
}
"""Lossy Image Compression Method (0028,2114) of these syntaxes."""
DERIVATIONS = ("DerivationDescription", "DerivationCodeSequence", "SourceImageSequence")


def check(opened: Opened) -> Iterator[Seen]:
    """The declarations of one file."""
    if opened.format == "dicom":
        yield from _synthesis(opened)
        yield from _derivation(opened)
        yield from _loss(opened)


def _synthesis(opened: Opened) -> Iterator[Seen]:
    source = opened.source
    if opened.text("SyntheticData") == "YES":
        text = "The header declares Synthetic Data (0008,001C) = YES."
        yield seen.warning("synthetic-data", text, "PS3.3 C.12.1", source)
    makers = [PURPOSES[code] for code in _purposes(opened) if code in PURPOSES]
    for maker in makers:
        yield seen.warning("contributing-equipment", f"Contributing Equipment names {maker}.", EQUIPMENT, source)
    if makers and _pixels(opened) == "ORIGINAL":
        text = "Image Type (0008,0008) says ORIGINAL although such equipment took part."
        yield seen.contradiction("image-type", text, IMAGE_TYPE, source)


def _purposes(opened: Opened) -> Iterator[str]:
    for index in range(dicom.MAX_EQUIPMENT):
        entry = dicom.item(opened.dataset, "ContributingEquipmentSequence", index)
        if entry is None:
            return
        code = dicom.item(entry, "PurposeOfReferenceCodeSequence")
        yield (dicom.text(code, "CodeValue") or "") if code is not None else ""


def _pixels(opened: Opened) -> str:
    """Value 1 of Image Type: ORIGINAL or DERIVED."""
    return (opened.text("ImageType") or "").split("\\")[0].upper()


def _derivation(opened: Opened) -> Iterator[Seen]:
    kind = _pixels(opened)
    stated = [word for word in DERIVATIONS if opened.value(word)]
    if kind == "ORIGINAL" and "DerivationCodeSequence" in stated and not _is_lossy(opened):
        text = "Image Type (0008,0008) says ORIGINAL, Derivation Code Sequence (0008,9215) that it was derived."
        yield seen.contradiction("derivation", text, DERIVATION, opened.source)
    elif kind == "ORIGINAL" and "SourceImageSequence" in stated:
        # Scanners state the raw series or a localiser there.
        text = "Image Type (0008,0008) says ORIGINAL, and Source Image Sequence (0008,2112) names a source."
        yield seen.note("derivation", text, DERIVATION, opened.source)
    if kind == "DERIVED" and not stated:
        text = "Image Type (0008,0008) says DERIVED, and nothing says of what or how."
        yield seen.note("derivation", text, DERIVATION, opened.source)


def _is_lossy(opened: Opened) -> bool:
    """Lossy compression makes a derivation of its own, which may keep the Image Type (PS3.3 C.7.6.1.1.5)."""
    return opened.text("LossyImageCompression") == "01"


def _loss(opened: Opened) -> Iterator[Seen]:
    flag, source = opened.text("LossyImageCompression"), opened.source
    syntax = opened.parsed.transfer_syntax if opened.parsed is not None else ""
    methods = (opened.text("LossyImageCompressionMethod") or "").split("\\")
    methods = [method for method in methods if method]
    ratios = [ratio for ratio in (opened.text("LossyImageCompressionRatio") or "").split("\\") if ratio]
    if flag == "01":
        text = "The header declares lossy compression (0028,2110): fine traces may be gone."
        yield seen.note("lossy", text, LOSSY, source)
    if flag == "00" and syntax in ALWAYS_LOSSY:
        text = "The pixels are lossily compressed, Lossy Image Compression (0028,2110) says that they never were."
        yield seen.contradiction("lossy", text, LOSSY, source)
    if flag == "00" and (methods or ratios):
        text = "Lossy Image Compression (0028,2110) says 00, and ratio or method (0028,2112, 2114) of one is stated."
        yield seen.contradiction("lossy", text, LOSSY, source)
    if max(len(methods), len(ratios)) > 1:
        steps = ", ".join(methods) or ", ".join(ratios)
        text = f"The header tells of {max(len(methods), len(ratios))} lossy compressions ({steps}), one upon the other."
        yield seen.warning("lossy-twice", text, LOSSY, source)
    wanted = next((method for method, syntaxes in METHODS.items() if syntax in syntaxes), None)
    if wanted and methods and methods[-1] != wanted:
        text = f"The last lossy method stated is {methods[-1][:16]}, the pixels are compressed by {wanted}."
        yield seen.warning("lossy-method", text, LOSSY, source)
