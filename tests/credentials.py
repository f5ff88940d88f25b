"""Content Credentials made by c2pa-python itself, with an authority made on the spot."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from signing import pem

TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff", "PDF": "application/pdf"}
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


@dataclass(frozen=True)
class Authority:
    """Whom a test trusts, and what signs a file in its name: sign(data, kind, origin)."""

    certificate: x509.Certificate
    sign: Callable[..., bytes]


def authority() -> Authority:
    """A new one; skips the test without c2pa-python."""
    c2pa = pytest.importorskip("c2pa")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    own = certificate("ca", keys[0], keys[0], issues=True)
    leaf = certificate("camera", keys[1], keys[0], issues=False)
    form = serialization.PrivateFormat.PKCS8
    secret = keys[1].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def sign(data: bytes, kind: str, origin: str = CAPTURED) -> bytes:
        action = {"action": "c2pa.created", "digitalSourceType": origin, "softwareAgent": "Maker"}
        manifest = {
            "claim_generator_info": [{"name": "test", "version": "1"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        info = c2pa.C2paSignerInfo(b"es256", pem(leaf, own), secret, None)
        settings_ = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        made = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as by,
            c2pa.Builder(json.dumps(manifest), context=c2pa.Context(settings_)) as builder,
        ):
            builder.sign(by, TYPES[kind], io.BytesIO(data), made)
        return made.getvalue()

    return Authority(own, sign)


def pdf() -> bytes:
    """One empty page (ISO 32000-2, H.2)."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<<>>>>",
    )
    data, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 4\n0000000000 65535 f \n%btrailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    return data + end % (rows, len(data))
