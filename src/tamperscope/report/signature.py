"""Signing what a scan wrote: a list of digests, and one detached signature of that list.

``report.sha256`` is what ``sha256sum`` would print and ``sha256sum --check`` reads; ``report.sha256.sig`` is the bare
signature of its bytes: Ed25519 (RFC 8032), RSA (PKCS #1 v1.5 with SHA-256, RFC 8017 section 8.2) or ECDSA (SHA-256,
DER, RFC 3279 section 2.2.3). OpenSSL verifies each of them without this program.

No public key is written beside them: whoever could change the files could change it too. It has to reach the reader
by another way; its fingerprint, which is the SHA-256 of its SubjectPublicKeyInfo (RFC 5280 section 4.1), can be read
out on the telephone.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from tamperscope.errors import MissingExtraError, UnreadableError, UsageError

from .files import save

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    PublicKey: TypeAlias = ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MANIFEST = "report.sha256"
SIGNATURE = f"{MANIFEST}.sig"
PASSWORD = "TAMPERSCOPE_SIGN_PASSWORD"  # noqa: S105 - the name of the variable that holds it
LARGEST = 1 << 26
"""Most bytes of a key, a list or a signature that are read."""
LEAST_RSA_BITS = 2048
"""NIST SP 800-131A revision 2, table 2."""
LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, ready to sign."""

    key: PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that verifies."""
        return self.key.public_key()

    def sign(self, data: bytes) -> bytes:
        """The bare signature of ``data``."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(_sha256()))
        return self.key.sign(data, _pkcs1(), _sha256())


@dataclass(frozen=True, slots=True)
class Checked:
    """What has become of a signed folder."""

    genuine: bool
    """The list is the one that was signed with this key. If not, nothing else was looked at."""
    same: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    """Files in the folder that are not on the list."""

    @property
    def sound(self) -> bool:
        """All is as it was signed, and nothing was added."""
        return self.genuine and not (self.changed or self.missing or self.added)


def private_key(path: Path, password: str | None = None) -> Signer:
    """Read a private key from a PEM file.

    Args:
        path: PKCS #8, PKCS #1 or SEC 1, encrypted or not.
        password: What it is encrypted with; not used if it is not.

    Raises:
        UsageError: the file cannot be read, holds no private key, the password is missing or wrong, or the key is of
            a kind or size that is not used here.
        MissingExtraError: cryptography is not installed.
    """
    _installed()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = read(path)
    try:
        try:
            key = load_pem_private_key(data, None if password is None else password.encode())
        except TypeError:  # encrypted and no password, or a password and not encrypted
            if password is None:
                raise UsageError(f"the key {path} is encrypted", hint=f"set {PASSWORD} to its password") from None
            key = load_pem_private_key(data, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        # The library's own words are left out: they may quote what they read.
        hint = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"
        if password is not None:
            hint = f"see whether {PASSWORD} is the right one, and the file a private key in PEM"
        raise UsageError(f"cannot read a private key from {path}", hint=hint) from error
    _accepted(key.public_key(), path)
    return Signer(key)  # type: ignore[arg-type]  # _accepted has told its kind


def public_key(path: Path) -> PublicKey:
    """Read a public key from a PEM file (SubjectPublicKeyInfo, or the certificate of one).

    Raises:
        UsageError: the file cannot be read, holds no public key, or one that is not used here.
        MissingExtraError: cryptography is not installed.
    """
    _installed()
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = read(path)
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return _accepted(x509.load_pem_x509_certificate(data).public_key(), path)
        return _accepted(load_pem_public_key(data), path)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "the public half of key.pem: openssl pkey -in key.pem -pubout -out public.pem"
        raise UsageError(f"cannot read a public key from {path}", hint=hint) from error


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo, hexadecimal.

    The same as ``openssl pkey -pubin -in public.pem -outform DER | sha256sum``.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def command(key: PublicKey) -> str:
    """How OpenSSL verifies the signature, as one line for a shell in the folder."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    if isinstance(key, ed25519.Ed25519PublicKey):
        return f"openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in {MANIFEST} -sigfile {SIGNATURE}"
    return f"openssl dgst -sha256 -verify public.pem -signature {SIGNATURE} {MANIFEST}"


def described(signer: Signer | None) -> tuple[str, str]:
    """Fingerprint, and OpenSSL's command, of whoever signs; two empty texts if nobody does."""
    return (fingerprint(signer.public), command(signer.public)) if signer else ("", "")


def write(folder: Path, files: Iterable[Path], signer: Signer) -> list[Path]:
    """List the digests of ``files``, which lie below ``folder``, and sign the list.

    Returns:
        The list and its signature, as they were written.

    Raises:
        UsageError: a file cannot be read or written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in set(files))
    data = b"".join(_line(name, _digest(folder / name)) for name in names)
    save(folder / MANIFEST, data)
    save(folder / SIGNATURE, signer.sign(data))
    return [folder / MANIFEST, folder / SIGNATURE]


def check(folder: Path, key: PublicKey, *, apart: Iterable[Path] = ()) -> Checked:
    """Set a folder against its signed list.

    The signature is verified first, and before that nothing of the list is believed.

    Args:
        folder: What `write` signed.
        key: The signer's, from a source that is trusted.
        apart: Files that may lie in the folder and are not the scan's, such as the key.

    Raises:
        UsageError: there is no list in the folder, or a file cannot be read.
        UnreadableError: the list was signed by this key, but is none of ours.
    """
    if not (folder / MANIFEST).is_file():
        hint = "give the folder of a scan that ran with --sign-key"
        raise UsageError(f"{folder} holds no {MANIFEST}", hint=hint)
    if not (folder / SIGNATURE).is_file():
        return Checked(genuine=False, missing=(SIGNATURE,))
    data = read(folder / MANIFEST)
    if not _verifies(key, read(folder / SIGNATURE), data):
        return Checked(genuine=False)
    listed = dict(_entries(data))
    found: dict[str, list[str]] = {"same": [], "changed": [], "missing": []}
    for name, digest in listed.items():
        found[_state(folder / name, digest)].append(name)
    known = {folder / name for name in (*listed, MANIFEST, SIGNATURE)} | {path.absolute() for path in apart}
    added = (path for path in _all(folder) if path not in known and path.absolute() not in known)
    return Checked(
        genuine=True,
        **{kind: tuple(names) for kind, names in found.items()},
        added=tuple(sorted(path.relative_to(folder).as_posix() for path in added)),
    )


def _state(path: Path, digest: str) -> str:
    if not path.is_file():
        return "missing"
    return "same" if _digest(path) == digest else "changed"


def _all(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder; links are not followed."""
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)
        yield from (Path(parent) / name for name in folders if (Path(parent) / name).is_symlink())


def _line(name: str, digest: str) -> bytes:
    """A line of sha256sum (GNU coreutils, "md5sum invocation": a backslash in front where a name is escaped)."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return os.fsencode(f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n")


def _entries(data: bytes) -> Iterator[tuple[str, str]]:
    """(name, digest) of each line.

    Raises:
        UnreadableError: a line is none of sha256sum, or names a file outside of the folder.
    """
    for number, line in enumerate(os.fsdecode(data).removesuffix("\n").split("\n"), 1):
        match = LINE.fullmatch(line)
        name = _unescaped(match[3]) if match and match[1] else match[3] if match else ""
        path = PurePosixPath(name)
        if match is None or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise UnreadableError(f"line {number} of {MANIFEST} is none of sha256sum", hint="ask the signer")
        yield name, match[2]


def _unescaped(name: str) -> str:
    letters = {"n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(r"\\([nr\\])", lambda found: letters[found[1]], name)


def _verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(_sha256()))
        else:
            key.verify(signature, data, _pkcs1(), _sha256())
    except InvalidSignature:
        return False
    return True


def _accepted(key: object, path: Path) -> PublicKey:
    """The key, if it is of a kind that `Signer.sign` knows.

    Raises:
        UsageError: it is not.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey) and key.key_size < LEAST_RSA_BITS:
        hint = f"take one of {LEAST_RSA_BITS} or more"
        raise UsageError(f"the RSA key {path} has {key.key_size} bits", hint=hint)
    if isinstance(key, ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return key
    kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    raise UsageError(f"the key {path} is of the kind {kind}", hint="take Ed25519, RSA or an elliptic curve")


def _sha256() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _pkcs1() -> padding.PKCS1v15:
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PKCS1v15()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _cannotread(path, error) from error


def read(path: Path) -> bytes:
    """The bytes of a key, a certificate, a list or a signature.

    Raises:
        UsageError: the file cannot be read, or is larger than any of them.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise _cannotread(path, error) from error
    if len(data) > LARGEST:
        raise UsageError(f"{path} has more than {LARGEST} bytes", hint="give a key, or the folder of a signed scan")
    return data


def _cannotread(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read {path}: {error.strerror or error}", hint="give a file that you may read")


def _installed() -> None:
    """See that cryptography is there.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("cryptography", "report") from error
