from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from builders import ct, png
from tamperscope.detectors.provenance import editors

GREY = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)


def texts(seen) -> str:
    return " ".join(one.finding.text for one in seen)


def with_exif(software: str, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0131] = software
    return png(GREY, kind, exif=exif)


def with_text(keyword: str, value: str) -> bytes:
    stream, text = io.BytesIO(), PngInfo()
    text.add_text(keyword, value)
    Image.fromarray(GREY).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "severity"),
    [
        (with_exif("Adobe Photoshop 25.0 (Windows)"), "Adobe Photoshop", "note"),
        (with_exif("GIMP 2.10.34"), "GIMP", "note"),
        (with_exif("GIMP 2.10.34", "TIFF"), "GIMP", "note"),
        (with_text("Software", "ImageJ 1.54f"), "ImageJ", "note"),
        (with_text("parameters", "a lung\nSteps: 20, Sampler: Euler"), "Stable Diffusion", "warning"),
        (with_text("prompt", '{"class_type": "ComfyUI"}'), "ComfyUI", "warning"),
        (png(GREY, "JPEG").replace(b"\xff\xdb", b"\xff\xed\x00\x14Photoshop 3.0\x008BIM\xff\xdb", 1), "Adobe", "note"),
    ],
    ids=[0, 1, 2, 3, 4, 5, 6],
)
def test_programs_that_name_themselves(of, data, name, severity):
    (found,) = editors.check(of(data, "picture"))
    assert name in found.finding.text
    assert (found.finding.severity, found.state) == (severity, "absent")


def test_pictures_that_name_nobody(of):
    plain = png(GREY, "JPEG")
    behind = plain[:-2] + b" GIMP Adobe Photoshop " + plain[-2:]
    for data in (png(GREY), plain, png(GREY, "TIFF"), with_text("Comment", "a gimpy lung"), behind):
        assert list(editors.check(of(data, "picture"))) == [], "samples are not searched, parts of words do not count"


def test_toolkits_in_what_calls_itself_original(of, said):
    made = ct(ImageType=["ORIGINAL", "PRIMARY"])
    made.file_meta.ImplementationClassUID = "1.2.276.0.7230010.3.0.3.6.7"
    assert said(editors.check(of(made))) == [("toolkit", "note", "absent")]
    made.ImageType = ["DERIVED", "PRIMARY"]
    assert said(editors.check(of(made))) == []
    made.ImageType, made.file_meta.ImplementationClassUID = ["ORIGINAL", "PRIMARY"], "1.2.840.113619.6.1"
    assert said(editors.check(of(made))) == []


def test_programs_that_pass_for_a_maker(of, said):
    assert said(editors.check(of(ct(Manufacturer="pydicom script")))) == [("maker", "warning", "absent")]
    assert said(editors.check(of(ct(Manufacturer="SIEMENS", ManufacturerModelName="Sensation 64")))) == []
    made = ct()
    made.add_new(0x00090010, "LO", "MATLAB export")
    assert said(editors.check(of(made))) == [("private-creator", "note", "absent")]
    made.add_new(0x00090010, "LO", "GEMS_IDEN_01")
    assert said(editors.check(of(made))) == []
