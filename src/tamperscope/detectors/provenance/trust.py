"""Whom the caller trusts: certificates under which a signature vouches for a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from tamperscope.errors import UsageError

Path_: TypeAlias = str | os.PathLike[str]
SUFFIXES = (".pem", ".crt", ".cer")
LARGEST = 2**20
"""Bytes of one file of certificates: the bundle of a browser has a quarter of it."""
ASK = "give PEM certificates (-----BEGIN CERTIFICATE-----), or a folder of such files"


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificates that end a chain. There is none at first: nothing comes with the package."""

    anchors: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        """All of them as PEM."""
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode("ascii") for one in self.anchors)

    def refusal(self, certificate: x509.Certificate, when: datetime) -> str | None:
        """Why a certificate is not vouched for at this time; None if a chain leads to an anchor (RFC 5280, section 6).

        An anchor vouches for itself too. Revocation is not looked up: that would need the network.
        """
        if not self.anchors:
            return "no certificate was given as trusted"
        # Signers of documents have none of the names and usages that a web server must have; that an issuer may
        # issue at all is asked for all the same (RFC 5280, 4.2.1.9), or any trusted signer could vouch for others.
        issuers = verification.ExtensionPolicy.permit_all().require_present(
            x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
        )
        signers = verification.ExtensionPolicy.permit_all()
        policy = verification.PolicyBuilder().store(verification.Store(list(self.anchors))).time(when)
        policy = policy.extension_policies(ca_policy=issuers, ee_policy=signers)
        try:
            policy.build_client_verifier().verify(certificate, [])
        except (verification.VerificationError, ValueError, x509.UnsupportedGeneralNameType):
            return "no chain leads from it to a trusted certificate"
        return None


NOBODY = Trust()


def load(paths: Path_ | Iterable[Path_] | None) -> Trust:
    """The certificates in PEM files, or in all such files of a folder (``.pem``, ``.crt``, ``.cer``).

    Raises:
        UsageError: a path cannot be read, or holds no certificate.
    """
    if paths is None:
        return NOBODY
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: dict[bytes, x509.Certificate] = {}
    for path in map(Path, listed):
        read = [one for file in _files(path) for one in _certificates(file)]
        if not read:
            raise UsageError(f"no certificate in {path}", hint=ASK)
        found |= {one.fingerprint(hashes.SHA256()): one for one in read}
    return Trust(tuple(found.values()))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(f"cannot read the certificates in {path}: {reason}", hint=ASK) from error
    if len(data) > LARGEST:
        raise UsageError(f"{path} has more than {LARGEST} bytes", hint=ASK)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise UsageError(f"no certificate in {path}", hint=ASK) from error


def described(certificate: x509.Certificate) -> str:
    """Whose certificate it is, by whom it was issued, and its fingerprint."""
    subject, issuer = _name(certificate.subject), _name(certificate.issuer)
    by = "by itself" if subject == issuer else f"by {issuer}"
    return f"{subject}, issued {by}, SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}"


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "no name"
