"""Content Credentials for the pictures of a report: a C2PA manifest in each PNG, signed with a user's certificate.

The manifest says which program drew the picture, of which voxels and with which answer (C2PA specification 2.2,
sections 10 and 18.15). It is made without the network, so it bears no time stamp of an authority: it counts as valid as
long as the certificate is. Whether the certificate is trusted is for its reader to say. The library draws random
identifiers, so these pictures are not the same bytes each time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

import tamperscope
from tamperscope.errors import MissingExtraError, UsageError
from tamperscope.records import JSON, SeriesResult

from . import words
from .signature import Signer, read

if TYPE_CHECKING:
    from .signature import PublicKey

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/dataDrivenMedia"
"""IPTC digital source type: a representation of data, made by a program."""
LABEL = "org.tamperscope.result"
"""Of the assertion that holds the answer."""
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False},
}
HINT = (
    "give the signer's certificate first, then those up to the root, as C2PA 2.2 section 14.5.1 asks for: with the key "
    "usage digitalSignature and an extended key usage such as emailProtection"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate chain and its key, ready to sign pictures."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    """PKCS #8 in PEM, in memory alone."""
    algorithm: str

    def sign(self, picture: bytes, result: SeriesResult) -> bytes:
        """A PNG with its manifest.

        Raises:
            UsageError: the certificate does not do for C2PA.
        """
        return self._signed(picture, result.name, _answer(result))

    def _signed(self, picture: bytes, title: str, answer: dict[str, JSON]) -> bytes:
        import c2pa

        claim = {
            "claim_generator_info": [{"name": "tamperscope", "version": tamperscope.__version__}],
            "format": "image/png",
            "title": f"{title}.png",
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE}]},
                },
                {"label": LABEL, "data": answer},
            ],
        }
        out = io.BytesIO()
        try:
            with (
                c2pa.Signer.from_info(c2pa.C2paSignerInfo(self.algorithm, self.chain, self.key, None)) as signer,
                c2pa.Context(c2pa.Settings.from_dict(SETTINGS)) as context,
                c2pa.Builder(claim, context) as builder,
            ):
                builder.sign(signer, "image/png", io.BytesIO(picture), out)
        except c2pa.C2paError as error:
            raise UsageError(
                f"the certificate does not do for C2PA: {words.visible(str(error))[:200]}", hint=HINT
            ) from error
        return out.getvalue()


def load(path: Path, signer: Signer) -> Credentials:
    """Read a certificate chain (PEM), and see with a picture of one pixel that it signs.

    Raises:
        UsageError: the file cannot be read, is no certificate, not that of the key, or not one for C2PA.
        MissingExtraError: c2pa-python is not installed.
    """
    try:
        import c2pa  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("c2pa-python", "c2pa") from error
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain = read(path)
    try:
        key = x509.load_pem_x509_certificates(chain)[0].public_key()
    except ValueError as error:
        raise UsageError(f"cannot read a certificate from {path}", hint="give a chain of them in PEM") from error
    if key != signer.public:
        raise UsageError(f"the first certificate of {path} is not that of the signing key", hint=HINT)
    private = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = Credentials(chain, private, _algorithm(signer.public))
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")
    found._signed(pixel.getvalue(), "probe", {})
    return found


def _algorithm(key: PublicKey) -> str:
    """The name of the signature (C2PA 2.2, section 13.2.1).

    Raises:
        UsageError: C2PA has none for such a key.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    names = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if key.curve.name not in names:
        raise UsageError(f"C2PA does not sign on the curve {key.curve.name}", hint="take P-256, P-384 or Ed25519")
    return names[key.curve.name]


def _answer(result: SeriesResult) -> dict[str, Any]:
    """What the picture is of, and what was found in it."""
    return {
        "verdict": result.verdict,
        "probability": words.probability(result.probability),
        "voxels_sha256": result.digest,
        "use": words.DISCLAIMER,
    }
