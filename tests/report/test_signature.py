"""Signatures, set against what everyone has: sha256sum and OpenSSL."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tamperscope.errors import UnreadableError, UsageError
from tamperscope.report import signature

KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


def pem(key, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with NAME.key and NAME.pub for each of KEYS."""
    folder = tmp_path_factory.mktemp("keys")
    for name, generate in KEYS.items():
        key = generate()
        (folder / f"{name}.key").write_bytes(pem(key))
        (folder / f"{name}.pub").write_bytes(public_pem(key))
    return folder


@pytest.fixture
def results(tmp_path):
    """A folder as a scan leaves it, one file of it in a folder with an awkward name."""
    folder = tmp_path / "out"
    (folder / "a\\b\nc ü").mkdir(parents=True)
    files = [folder / name for name in ("report.json", "report.html", "ct.png", "a\\b\nc ü/ct.sr.dcm")]
    for path in files:
        path.write_bytes(path.name.encode() * 100)
    return folder, files


@pytest.fixture
def signed(results, keys):
    folder, files = results
    signature.write(folder, files, signature.private_key(keys / "ed25519.key"))
    return folder


def checked(folder, keys, name="ed25519"):
    return signature.check(folder, signature.public_key(keys / f"{name}.pub"))


@pytest.mark.parametrize("name", KEYS)
def test_sha256sum_and_openssl_agree_and_notice_one_byte(name, results, keys):
    folder, files = results
    signer = signature.private_key(keys / f"{name}.key")
    written = signature.write(folder, files, signer)
    assert [path.name for path in written] == ["report.sha256", "report.sha256.sig"]
    assert checked(folder, keys, name).sound
    shutil.copy(keys / f"{name}.pub", folder / "public.pem")
    listed = ["sha256sum", "--check", "--strict", "report.sha256"]
    verified = shlex.split(signature.command(signer.public))
    for command in (listed, verified):
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    data = bytearray((folder / "report.sha256").read_bytes())
    data[3] ^= 1
    (folder / "report.sha256").write_bytes(data)
    for command in (listed, verified):
        assert subprocess.run(command, cwd=folder, capture_output=True).returncode != 0
    assert not checked(folder, keys, name).genuine


def test_the_fingerprint_is_that_of_openssl(keys):
    key = signature.public_key(keys / "ed25519.pub")
    command = ["openssl", "pkey", "-pubin", "-in", keys / "ed25519.pub", "-outform", "DER"]
    der = subprocess.run(command, capture_output=True, check=True).stdout
    assert signature.fingerprint(key) == hashlib.sha256(der).hexdigest()


def test_it_is_said_which_file_changed_is_missing_or_was_added(signed, keys):
    data = bytearray((signed / "ct.png").read_bytes())
    data[-1] ^= 1
    (signed / "ct.png").write_bytes(data)
    (signed / "report.html").unlink()
    (signed / "deep").mkdir()
    (signed / "deep" / ".hidden").write_bytes(b"")
    (signed / "link").symlink_to(signed.parent)
    found = checked(signed, keys)
    assert found.genuine
    assert not found.sound
    assert found.same == ("a\\b\nc ü/ct.sr.dcm", "report.json")
    assert (found.changed, found.missing, found.added) == (("ct.png",), ("report.html",), ("deep/.hidden", "link"))


def test_the_key_may_lie_in_the_folder(signed, keys, monkeypatch):
    shutil.copy(keys / "ed25519.pub", signed / "public.pem")
    monkeypatch.chdir(signed)
    key = signature.public_key(keys / "ed25519.pub")
    relative = os.path.relpath(signed / "public.pem")
    assert not checked(signed, keys).sound
    assert signature.check(signed, key, apart=[type(signed)(relative)]).sound


def test_another_key_did_not_sign_it(signed, keys):
    for name in ("p256", "rsa"):
        assert checked(signed, keys, name) == signature.Checked(genuine=False)


def test_a_list_without_signature_is_not_believed(signed, keys):
    (signed / "report.sha256.sig").unlink()
    assert checked(signed, keys) == signature.Checked(genuine=False, missing=("report.sha256.sig",))


def test_a_folder_that_was_never_signed_is_a_wrong_call(tmp_path, keys):
    with pytest.raises(UsageError, match=r"holds no report\.sha256"):
        checked(tmp_path, keys)


@pytest.mark.parametrize("line", ["x", "ab  c", f"{'a' * 64}  /etc/passwd", f"{'a' * 64}  ../up", ""])
def test_a_list_that_leaves_the_folder_is_refused_even_if_signed(line, tmp_path, keys):
    signer = signature.private_key(keys / "ed25519.key")
    (tmp_path / "report.sha256").write_text(f"{line}\n")
    (tmp_path / "report.sha256.sig").write_bytes(signer.sign(f"{line}\n".encode()))
    with pytest.raises(UnreadableError, match=r"line 1 of report\.sha256"):
        checked(tmp_path, keys)


def test_the_same_files_and_key_give_the_same_bytes(results, keys):
    folder, files = results
    signer = signature.private_key(keys / "ed25519.key")
    first = [path.read_bytes() for path in signature.write(folder, files, signer)]
    assert [path.read_bytes() for path in signature.write(folder, reversed(files), signer)] == first


def test_a_password_is_asked_for_and_told_apart(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ed25519.Ed25519PrivateKey.generate(), b"right"))
    assert signature.private_key(path, "right").sign(b"")
    with pytest.raises(UsageError, match=r"is encrypted .*TAMPERSCOPE_SIGN_PASSWORD"):
        signature.private_key(path)
    with pytest.raises(UsageError, match="cannot read a private key") as raised:
        signature.private_key(path, "wrong")
    assert "wrong" not in str(raised.value)


def test_a_password_that_is_not_needed_does_no_harm(keys):
    assert signature.private_key(keys / "ed25519.key", "of another key").sign(b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot read a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot read a private key"),
        (pem(rsa.generate_private_key(65537, 1024)), "has 1024 bits"),  # noqa: S505 - refused
        (pem(ed448.Ed448PrivateKey.generate()), "of the kind Ed448"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "cannot read a private key"),
    ],
    ids=["empty", "damaged", "short", "other kind", "public"],
)
def test_what_is_no_key_for_this_is_told(data, words, tmp_path):
    (tmp_path / "key.pem").write_bytes(data)
    with pytest.raises(UsageError, match=words) as raised:
        signature.private_key(tmp_path / "key.pem")
    assert raised.value.hint


def test_a_private_key_does_not_verify(keys, tmp_path):
    with pytest.raises(UsageError, match="cannot read a public key"):
        signature.public_key(keys / "ed25519.key")
    with pytest.raises(UsageError, match="No such file"):
        signature.public_key(tmp_path / "gone.pem")
