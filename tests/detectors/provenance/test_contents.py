"""Content Credentials made by c2pa-python itself."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import png
from signing import pem
from tamperscope.detectors.provenance import contents, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.trust import NOBODY, Trust

GREY = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff"}
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CAPTURED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def certificate(subject: str, key, issuer_key, *, issues: bool) -> x509.Certificate:
    """By "ca", as C2PA asks for it (C2PA 2.1, 14.5)."""
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "org")])
        for one in ("ca", subject)
    ]
    dates = datetime(2020, 1, 1), datetime(2090, 1, 1)
    made = x509.CertificateBuilder(names[0], names[1], key.public_key(), x509.random_serial_number(), *dates)
    usage = x509.KeyUsage(not issues, False, False, False, False, issues, issues, False, False)
    made = made.add_extension(x509.BasicConstraints(ca=issues, path_length=None), critical=True)
    made = made.add_extension(usage, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    made = made.add_extension(authority, critical=False)
    if not issues:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return made.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def credentials():
    """The authority, and a function that signs a picture: (authority, sign(data, kind, origin))."""
    c2pa = pytest.importorskip("c2pa")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority = certificate("ca", keys[0], keys[0], issues=True)
    leaf = certificate("camera", keys[1], keys[0], issues=False)
    form = serialization.PrivateFormat.PKCS8
    secret = keys[1].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def sign(data: bytes, kind: str, origin: str = CAPTURED) -> bytes:
        action = {"action": "c2pa.created", "digitalSourceType": origin, "softwareAgent": "Maker"}
        manifest = {
            "claim_generator_info": [{"name": "test", "version": "1"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        info = c2pa.C2paSignerInfo(b"es256", pem(leaf, authority), secret, None)
        settings_ = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        made = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as by,
            c2pa.Builder(json.dumps(manifest), context=c2pa.Context(settings_)) as builder,
        ):
            builder.sign(by, TYPES[kind], io.BytesIO(data), made)
        return made.getvalue()

    return authority, sign


@pytest.mark.parametrize("kind", TYPES)
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


@pytest.mark.parametrize("kind", TYPES)
def test_pictures_without_a_manifest(of, kind):
    assert list(contents.check(of(png(GREY, kind), "picture"), NOBODY)) == []


def test_a_manifest_that_lies_elsewhere_is_not_fetched(of):
    """Its address stands in the XMP; nothing is asked for it."""
    where = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dcterms:provenance>https://127.0.0.1:9/a.c2pa</dcterms:provenance>'
    segment = b"\xff\xe1" + (len(where) + 31).to_bytes(2, "big") + b"http://ns.adobe.com/xap/1.0/\0" + where
    data = png(GREY, "JPEG")
    assert list(contents.check(of(data[:2] + segment + data[2:], "picture"), NOBODY)) == []


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["png", "jpeg", "tiff"]))
def test_wild_manifests(wild, kind):
    box = b"\0\0\0\x20jumb\0\0\0\x18jumdc2pa" + wild
    data = {
        "png": segments.PNG_START + len(box).to_bytes(4, "big") + b"caBX" + box,
        "jpeg": b"\xff\xd8\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box,
        "tiff": b"II*\0" + box,
    }[kind]
    for one in contents.check(Opened("x", data, "picture"), NOBODY):
        assert one.state != "verified"
