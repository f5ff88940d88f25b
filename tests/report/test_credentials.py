"""Content Credentials: read back by the library of the standard's makers, changed, and refused."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

import tamperscope
from builders import png as to_png
from tamperscope.errors import MissingExtraError, UsageError
from tamperscope.report import credentials, png, signature, write_series
from tamperscope.report.signature import Signer

c2pa = pytest.importorskip("c2pa")
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}


def name(common: str) -> x509.Name:
    pairs = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Test"))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in pairs])


def certificate(key, issuer_key, *, ca: bool, usage: bool = True) -> bytes:
    now = datetime.now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("CA" if ca else "Signer"))
        .issuer_name(name("CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False),
            critical=True,
        )
    )
    if usage and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    kind = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, kind).public_bytes(Encoding.PEM)


def chain(key, path, *, usage: bool = True):
    """A chain of two in ``path``."""
    root = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(certificate(key, root, ca=False, usage=usage) + certificate(root, root, ca=True))
    return path


def state(data: bytes) -> tuple[str, dict]:
    """Validation state, and the active manifest."""
    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        tree = json.loads(reader.json())
    return tree["validation_state"], tree["manifests"][tree["active_manifest"]]


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_picture_says_who_drew_it_of_what_and_notices_one_byte(algorithm, make, volume, tmp_path):
    signer = Signer(KEYS[algorithm]())
    found = credentials.load(chain(signer.key, tmp_path / "chain.pem"), signer)
    assert found.algorithm == algorithm
    result = make["suspicious"]()
    picture = write_series(volume, result, tmp_path, credentials=found)
    assert picture == png.render(volume, result), "what the other reports hold is the same bytes each time"
    data = (tmp_path / "ct-12.png").read_bytes()
    valid, manifest = state(data)
    assert valid == "Valid"
    assert manifest["claim_generator_info"][0]["name"] == "tamperscope"
    (answer,) = [one["data"] for one in manifest["assertions"] if one["label"] == credentials.LABEL]
    assert answer["verdict"] == "suspicious"
    assert answer["voxels_sha256"] == result.digest
    before, after = Image.open(io.BytesIO(picture)), Image.open(io.BytesIO(data))
    assert np.array_equal(np.asarray(before), np.asarray(after))
    assert before.text == after.text, "a scan still knows it as its own"
    assert len(data) < len(picture) + 40_000
    bent = bytearray(data)
    bent[data.rindex(b"IDAT") + 100] ^= 1
    assert state(bytes(bent))[0] == "Invalid"


def test_a_certificate_of_another_key_or_for_another_use_is_refused(tmp_path):
    signer = Signer(ed25519.Ed25519PrivateKey.generate())
    other = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(UsageError, match="is not that of the signing key"):
        credentials.load(chain(other, tmp_path / "other.pem"), signer)
    with pytest.raises(UsageError, match="does not do for C2PA") as raised:
        credentials.load(chain(signer.key, tmp_path / "useless.pem", usage=False), signer)
    assert "extended key usage" in raised.value.hint
    (tmp_path / "none.pem").write_bytes(b"no certificate")
    with pytest.raises(UsageError, match="cannot read a certificate"):
        credentials.load(tmp_path / "none.pem", signer)


def test_a_curve_that_c2pa_does_not_know_is_refused(tmp_path):
    signer = Signer(ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(UsageError, match="does not sign on the curve secp256k1"):
        credentials.load(chain(signer.key, tmp_path / "chain.pem"), signer)


def test_without_the_library_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tamperscope\[c2pa\]'"):
        credentials.load(tmp_path / "chain.pem", Signer(ed25519.Ed25519PrivateKey.generate()))


def test_a_scan_signs_its_pictures_and_then_all_files(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    chain(key, tmp_path / "chain.pem")
    photo = to_png(np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8))
    with pytest.raises(UsageError, match="a certificate signs nothing without its key"):
        tamperscope.scan(photo, out=tmp_path / "out", sign_certificate=tmp_path / "chain.pem")
    keys = {"sign_key": tmp_path / "key.pem", "sign_certificate": tmp_path / "chain.pem"}
    answer = tamperscope.scan(photo, out=tmp_path / "out", **keys)
    assert state((tmp_path / "out" / f"{answer.series[0].name}.png").read_bytes())[0] == "Valid"
    assert signature.check(tmp_path / "out", key.public_key()).sound
