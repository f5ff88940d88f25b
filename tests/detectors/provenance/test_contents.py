"""Content Credentials made by c2pa-python itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import png
from credentials import GENERATED, TYPES, authority, pdf
from tamperscope.detectors.provenance import contents, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.trust import NOBODY, Trust

PICTURES = [kind for kind in TYPES if kind != "PDF"]
GREY = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)


@pytest.fixture(scope="module")
def credentials():
    """The authority, and a function that signs a file: (certificate, sign(data, kind, origin))."""
    made = authority()
    return made.certificate, made.sign


@pytest.mark.parametrize("kind", PICTURES)
def test_round_trip(credentials, of, said, kind):
    authority, sign = credentials
    data = sign(png(GREY, kind), kind)
    assert contents.has_manifest(data)
    action = ("c2pa-action", "note", "absent")
    seen = said(contents.check(of(data, "picture"), Trust((authority,))))
    assert seen == [("c2pa", "note", "verified"), action]
    assert said(contents.check(of(data, "picture"), NOBODY)) == [("c2pa-untrusted", "note", "absent"), action]
    at = {"PNG": data.rfind(b"IEND") - 20, "JPEG": len(data) - 60, "TIFF": data.find(GREY.tobytes()[2000:2040])}[kind]
    assert at > 0
    changed = bytearray(data)
    changed[at] ^= 1
    (broken, _) = contents.check(of(bytes(changed), "picture"), Trust((authority,)))
    assert (broken.finding.severity, broken.state) == ("alarm", "broken")
    assert "dataHash.mismatch" in broken.finding.text


def test_pdf(credentials, said):
    authority, sign = credentials
    data = sign(pdf(), "PDF")
    assert contents.has_manifest(data)
    told = said(contents.credentials(data, "x.pdf", Trust((authority,))))
    assert told == [("c2pa", "note", "verified"), ("c2pa-action", "note", "absent")]
    (broken, _) = contents.credentials(data.replace(b"612", b"613", 1), "x.pdf", NOBODY)
    assert (broken.finding.severity, broken.state) == ("alarm", "broken")
    assert list(contents.credentials(pdf(), "x.pdf", NOBODY)) == []
    packed = pdf().replace(b"<<>>", b"<</ObjStm 0>>", 1)
    assert list(contents.credentials(packed, "x.pdf", NOBODY)) == [], "asked of the library, and there is none"


def test_what_was_generated_says_so(credentials, of, said):
    _, sign = credentials
    seen = list(contents.check(of(sign(png(GREY), "PNG", GENERATED), "picture"), NOBODY))
    assert ("c2pa-generated", "warning", "absent") in said(seen)
    assert "c2pa.created by Maker from trainedAlgorithmicMedia" in seen[-1].finding.text


def test_without_the_extra_it_says_that_there_is_something_and_how_to_read_it(credentials, of, monkeypatch):
    _, sign = credentials
    data = sign(png(GREY), "PNG")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (found,) = contents.check(of(data, "picture"), NOBODY)
    assert (found.finding.severity, found.state) == ("note", "absent")
    assert "pip install 'tamperscope[c2pa]'" in found.finding.text


def test_a_damaged_manifest_is_a_warning(credentials, of, said):
    _, sign = credentials
    data = bytearray(sign(png(GREY), "PNG"))
    at = data.index(b"caBX")
    data[at + 8 : at + 60] = bytes(52)
    assert [severity for _, severity, _ in said(contents.check(of(bytes(data), "picture"), NOBODY))] == ["warning"]


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_without_a_manifest(of, kind):
    assert list(contents.check(of(png(GREY, kind), "picture"), NOBODY)) == []


def test_a_manifest_that_lies_elsewhere_is_not_fetched(of):
    """Its address stands in the XMP; nothing is asked for it."""
    where = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dcterms:provenance>https://127.0.0.1:9/a.c2pa</dcterms:provenance>'
    segment = b"\xff\xe1" + (len(where) + 31).to_bytes(2, "big") + b"http://ns.adobe.com/xap/1.0/\0" + where
    data = png(GREY, "JPEG")
    assert list(contents.check(of(data[:2] + segment + data[2:], "picture"), NOBODY)) == []


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["png", "jpeg", "tiff", "pdf"]))
def test_wild_manifests(wild, kind):
    box = b"\0\0\0\x20jumb\0\0\0\x18jumdc2pa" + wild
    data = {
        "png": segments.PNG_START + len(box).to_bytes(4, "big") + b"caBX" + box,
        "jpeg": b"\xff\xd8\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box,
        "tiff": b"II*\0" + box,
        "pdf": b"%PDF-1.7\n" + box,
    }[kind]
    for one in contents.check(Opened("x", data, "picture"), NOBODY):
        assert one.state != "verified"
