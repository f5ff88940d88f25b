from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ct, pixels, png, to_bytes, zipped
from tamperscope.detectors.provenance import preamble
from tamperscope.detectors.provenance.opened import Opened


def dicom(start: bytes) -> bytes:
    return start.ljust(128, b"\0") + to_bytes(ct())[128:]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"", []),
        (b"MZ\x90\0", [("preamble", "warning", "contradictory")]),
        (b"\x7fELF\x02", [("preamble", "warning", "contradictory")]),
        (b"#!/bin/sh\n", [("preamble", "warning", "contradictory")]),
        (b"\xcf\xfa\xed\xfe", [("preamble", "warning", "contradictory")]),
        (b"II*\0\x08\0\0\0", [("preamble", "note", "absent")]),
        (b"MM\0*\0\0\0\x08", [("preamble", "note", "absent")]),
        (b"hello", [("preamble", "note", "absent")]),
    ],
    ids=str,
)
def test_programs_in_the_preamble(of, said, start, expected):
    assert said(preamble.check(of(dicom(start)))) == expected


def test_a_zip_hung_on_behind(of, said):
    archive = zipped({"a": b"b"})
    for data, kind in ((dicom(b""), "dicom"), (png(pixels().astype("uint8")), "picture")):
        found = said(preamble.check(of(data + archive, kind)))
        assert ("polyglot", "warning", "absent") in found
        assert said(preamble.check(of(data, kind))) == []
    assert said(preamble.check(of(dicom(b"") + b"PK\x05\x06" + bytes(18)))) == [], "four letters are no archive"


def test_bytes_behind_a_picture_are_a_note(of, said):
    for kind in ("PNG", "JPEG"):
        data = png(pixels().astype("uint8"), kind)
        assert said(preamble.check(of(data + b"more", "picture"))) == [("polyglot", "note", "absent")]
        assert said(preamble.check(of(data + b"\0\0\n", "picture"))) == []


@given(st.binary(max_size=300), st.sampled_from(["dicom", "picture", "nifti"]), st.booleans())
def test_wild_bytes(wild, kind, marked):
    data = wild[:128].ljust(128, b"\0") + b"DICM" + wild if marked else wild + b"PK\x05\x06" + wild
    for one in preamble.check(Opened("x", data, kind)):
        assert one.finding.text
