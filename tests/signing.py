"""Certificates made on the spot, and dcmsign of dcmtk, which signs with them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

needs_dcmsign = pytest.mark.skipif(shutil.which("dcmsign") is None, reason="dcmsign of dcmtk is not installed")
FIRST, LAST = datetime(2015, 1, 1, tzinfo=UTC), datetime(2095, 1, 1, tzinfo=UTC)


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """The key of a name, always the same in one run."""
    del name
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Signer:
    """A key and its certificate, as files and as they are."""

    certificate: x509.Certificate
    key_file: Path
    certificate_file: Path


def certificate(
    subject: str, issuer: str, *, first: datetime = FIRST, last: datetime = LAST, issues: bool | None = None
) -> x509.Certificate:
    """X.509 of ``subject`` by ``issuer``; ``issues`` is what its basic constraints say, None for none."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    made = x509.CertificateBuilder(names[1], names[0], key(subject).public_key(), 7, first, last)
    if issues is not None:
        made = made.add_extension(x509.BasicConstraints(ca=issues, path_length=None), critical=True)
    return made.sign(key(issuer), hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def signer(folder: Path, made: x509.Certificate, subject: str) -> Signer:
    """The files that dcmsign asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    key_file, certificate_file = folder / f"{subject}.key.pem", folder / f"{subject}.pem"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    key_file.write_bytes(key(subject).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    certificate_file.write_bytes(pem(made))
    return Signer(made, key_file, certificate_file)


def curve(folder: Path) -> Signer:
    """A signer of their own with a key on P-256."""
    secret, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "curve")]),
    )
    made = x509.CertificateBuilder(name, name, secret.public_key(), 7, FIRST, LAST).sign(secret, hashes.SHA256())
    by = Signer(made, folder / "curve.key.pem", folder / "curve.pem")
    form = serialization.PrivateFormat.TraditionalOpenSSL
    by.key_file.write_bytes(secret.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    by.certificate_file.write_bytes(pem(made))
    return by


def sign(by: Signer, data: bytes, folder: Path, *options: str, item: str | None = None) -> bytes:
    """The bytes that dcmsign makes of a file."""
    before, after = folder / "before.dcm", folder / "after.dcm"
    before.write_bytes(data)
    how = ["+s", by.key_file, by.certificate_file] if item is None else ["+si", by.key_file, by.certificate_file, item]
    options = options if any(option.startswith("+m") for option in options) else ("+m2", *options)
    ran = subprocess.run(["dcmsign", *how, *options, before, after], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return after.read_bytes()


def holds(data: bytes, folder: Path, anchor: x509.Certificate) -> bool:
    """Whether dcmsign finds every signature of a file intact, and vouched for by this certificate."""
    (folder / "anchor.pem").write_bytes(pem(anchor))
    path = folder / "checked.dcm"
    path.write_bytes(data)
    return (
        subprocess.run(
            ["dcmsign", "--quiet", "+cf", folder / "anchor.pem", path], capture_output=True, check=False
        ).returncode
        == 0
    )
