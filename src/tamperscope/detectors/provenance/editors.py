"""Traces of the programs that wrote a file. They say who had it last, not that anything was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tamperscope.detectors.provenance import seen, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.formats import dicom

MOST = 512 * 1024
"""Bytes of metadata that are looked through."""
PROGRAMS = {
    "Adobe Photoshop": rb"Adobe Photoshop|Photoshop 3\.0\x008BIM",
    "Adobe Lightroom": rb"Adobe (?:Photoshop )?Lightroom",
    "GIMP": rb"\bGIMP\b",
    "ImageJ": rb"\bImageJ\b",
    "ImageMagick": rb"ImageMagick",
    "Paint.NET": rb"[Pp]aint\.[Nn][Ee][Tt]",
    "Affinity": rb"Affinity (?:Photo|Designer)",
    "Pixelmator": rb"Pixelmator",
    "Inkscape": rb"inkscape",
    "Canva": rb"\bCanva\b",
    "MATLAB": rb"\bMATLAB\b",
    "Stable Diffusion": rb"Stable Diffusion|sd-metadata|\bSteps: \d+, Sampler: ",
    "DALL-E": rb"DALL[-\xb7 ]?E",
    "Midjourney": rb"Midjourney",
    "ComfyUI": rb"ComfyUI",
}
GENERATORS = frozenset({"Stable Diffusion", "DALL-E", "Midjourney", "ComfyUI"})
TOOLKITS = {
    "1.2.826.0.1.3680043.8.498.": "pydicom",
    "1.2.826.0.1.3680043.9.3811.": "pynetdicom",
    "1.2.276.0.7230010.3.0.3.": "DCMTK",
    "1.2.826.0.1.3680043.2.1143.": "GDCM",
    "1.2.40.0.13.1.": "dcm4che",
    "1.3.6.1.4.1.30071.8": "fo-dicom",
    "1.3.6.1.4.1.25403.": "ClearCanvas",
    "1.2.826.0.1.3680043.8.641": "Orthanc",
}
"""Implementation Class UIDs (0002,0012) of the toolkits, by their beginnings."""
TOOLS_AS_MAKERS = re.compile(r"\b(pydicom|dcmtk|gdcm|imagej|matlab|photoshop|gimp|slicer|itk|python)\b", re.IGNORECASE)
CLAUSE = "PS3.10 7.1"


def check(opened: Opened) -> Iterator[Seen]:
    """What wrote the file, as far as it says so."""
    if opened.format == "dicom":
        yield from _toolkit(opened)
        yield from _maker(opened)
        yield from _creators(opened)
    elif opened.format == "picture":
        yield from _programs(opened)


def _toolkit(opened: Opened) -> Iterator[Seen]:
    """PACS and archives write anew whatever passes them, so this is a note in any case."""
    uid = dicom.text(opened.meta, "ImplementationClassUID") or ""
    name = next((name for start, name in TOOLKITS.items() if uid.startswith(start)), None)
    original = (opened.text("ImageType") or "").upper().startswith("ORIGINAL")
    if name and original:
        text = f"The file was written by {name}, which is no scanner; archives and anonymisers use it too."
        yield seen.note("toolkit", text, CLAUSE, opened.source)


def _maker(opened: Opened) -> Iterator[Seen]:
    for keyword in ("Manufacturer", "ManufacturerModelName"):
        found = TOOLS_AS_MAKERS.search(opened.text(keyword) or "")
        if found:
            text = f"{keyword} names the program {found[0]} where a device is to be named."
            yield seen.warning("maker", text, "PS3.3 C.7.5.1", opened.source)


def _creators(opened: Opened) -> Iterator[Seen]:
    """Programs among the private creators (PS3.5 7.8.1)."""
    for tag in opened.dataset.keys():  # noqa: SIM118  gives tags without converting values
        if not tag.is_private_creator:
            continue
        found = TOOLS_AS_MAKERS.search(str(opened.dataset.get(tag).value or ""))
        if found:
            text = f"A private creator names the program {found[0]}."
            yield seen.note("private-creator", text, "PS3.5 7.8.1", opened.source)


def _programs(opened: Opened) -> Iterator[Seen]:
    """By name, in what surrounds the picture: tEXt, EXIF, XMP and the resource blocks of Photoshop."""
    text = segments.metadata(opened.data, MOST)
    for name, pattern in PROGRAMS.items():
        if not re.search(pattern, text):
            continue
        if name in GENERATORS:
            said = f"The metadata names {name}, which generates pictures."
            yield seen.warning("editor", said, "EXIF 2.32, Software", opened.source)
        else:
            said = f"The metadata names {name}: the picture was saved by it."
            yield seen.note("editor", said, "EXIF 2.32, Software", opened.source)
