"""A scan that is printed and signed, and what its reader finds; on the command line as a user has it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

import tamperscope
from builders import png
from credentials import GENERATED, authority, pdf
from signing import pem
from tamperscope import cli, phantom


def run(*arguments: object, **environment: str):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``key.pem``, ``locked.pem`` (password "right"), their ``public.pem``, another's ``other.pem``, and a photo."""
    folder = tmp_path_factory.mktemp("signed")
    key, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    for name, encryption in (("key", NoEncryption()), ("locked", BestAvailableEncryption(b"right"))):
        data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        (folder / f"{name}.pem").write_bytes(data)
    for name, one in (("public", key), ("other", other)):
        data = one.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem").write_bytes(data)
    (folder / "photo.png").write_bytes(png(np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)))
    return folder


@pytest.fixture
def signed(folder, tmp_path):
    """What a scan of the photo left, printed and signed."""
    out = tmp_path / "out"
    done = run("scan", folder / "photo.png", "--out", out, "--pdf", "--sign-key", folder / "key.pem")
    assert done.exit_code == 3, done.output
    assert f"tamperscope verify {out} --key public.pem" in done.stdout
    return out


def test_all_that_a_scan_wrote_is_signed_and_says_how_to_verify_it(signed, folder):
    names = {"report.json", "report.csv", "report.html", "report.pdf", "photo.png"}
    assert {path.name for path in signed.iterdir()} == names | {"report.sha256", "report.sha256.sig"}
    listed = {line.split("  ")[1] for line in (signed / "report.sha256").read_text().splitlines()}
    assert listed == names
    done = run("verify", signed, "--key", folder / "public.pem")
    assert done.exit_code == 0
    assert done.stdout.startswith("All 5 files are as they were signed, and none was added\nKey (SHA-256): ")
    fingerprint = done.stdout.split()[-1]
    page = (signed / "report.html").read_text()
    assert fingerprint in page
    assert "openssl pkeyutl -verify" in page


def test_one_byte_a_missing_and_an_added_file_are_named(signed, folder):
    data = bytearray((signed / "report.pdf").read_bytes())
    data[len(data) // 2] ^= 1
    (signed / "report.pdf").write_bytes(data)
    (signed / "photo.png").unlink()
    (signed / "later\x1b.txt").write_text("")
    done = run("verify", signed, "--key", folder / "public.pem")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[:4] == [
        "CHANGED       report.pdf",
        "MISSING       photo.png",
        "NOT SIGNED    later�.txt",
        "3 files are as they were signed; 1 changed, 1 missing, 1 not signed",
    ]


@pytest.mark.parametrize("what", ["report.sha256", "report.sha256.sig", "key"])
def test_what_this_key_did_not_sign_is_1(what, signed, folder):
    if what != "key":
        data = bytearray((signed / what).read_bytes())
        data[0] ^= 1
        (signed / what).write_bytes(data)
    done = run("verify", signed, "--key", folder / ("other.pem" if what == "key" else "public.pem"))
    assert done.exit_code == 1
    assert done.stdout.startswith("report.sha256 is not what this key signed")


def test_a_signature_that_was_taken_away_is_1(signed, folder):
    (signed / "report.sha256.sig").unlink()
    done = run("verify", signed, "--key", folder / "public.pem")
    assert done.exit_code == 1
    assert "MISSING       report.sha256.sig" in done.stdout
    assert "proves nothing" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["out", "out"], ["out", "--config", "node.toml"], ["nowhere"]], ids=str)
def test_a_wrong_call_is_2(arguments, signed, folder, monkeypatch):
    monkeypatch.chdir(signed.parent)
    done = run("verify", *arguments, "--key", folder / "public.pem")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_signed_report_without_the_key_asks_for_it(signed, monkeypatch):
    monkeypatch.chdir(signed.parent)
    done = run("verify", "out")
    assert done.exit_code == 2
    assert "say with --key" in done.stderr


def test_the_password_comes_from_the_environment_alone(folder, tmp_path):
    call = ("scan", folder / "photo.png", "--out", tmp_path / "out", "--sign-key", folder / "locked.pem")
    for password in (None, "wrong"):
        done = run(*call, **({"TAMPERSCOPE_SIGN_PASSWORD": password} if password else {}))
        assert done.exit_code == 2
        assert "TAMPERSCOPE_SIGN_PASSWORD" in done.stderr
        assert not (tmp_path / "out").exists(), "it is told before the scan begins"
    assert run(*call, TAMPERSCOPE_SIGN_PASSWORD="right").exit_code == 3  # noqa: S106 - of a key made here
    assert run("verify", tmp_path / "out", "--key", folder / "public.pem").exit_code == 0


@pytest.mark.parametrize("option", [["--pdf"], ["--sign-key", "key.pem"]], ids=str)
def test_what_writes_files_needs_a_folder(option, folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = run("scan", "photo.png", "--json", *option)
    assert done.exit_code == 2
    assert "--out" in done.stderr


def test_the_date_is_the_one_that_was_given(folder, tmp_path):
    run("scan", folder / "photo.png", "--out", tmp_path, "--when", "2026-02-03T04:05:06")
    assert "Made on 2026-02-03 04:05." in (tmp_path / "report.html").read_text()


def test_objects_and_heat_maps_below_the_folder_are_signed_too(folder, tmp_path):
    pytest.importorskip("highdicom")
    study, out = tmp_path / "study", tmp_path / "out"
    phantom.write_dicom(phantom.chest((2, 384, 384), (2.5, 0.9, 0.9), np.random.default_rng(1)), study)
    call = ("scan", study, "--out", out, "--model", "ct-noise", "--heatmap", "--dicom-out", out / "objects")
    assert run(*call, "--pdf", "--sign-key", folder / "key.pem").exit_code in (0, 1, 3)
    listed = {line.split("  ")[1] for line in (out / "report.sha256").read_text().splitlines()}
    assert {"study.nii.gz", "study.png", "report.pdf", "objects/study.sr.dcm"} <= listed
    assert run("verify", out, "--key", folder / "public.pem").exit_code == 0
    ended = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "report.sha256"], cwd=out)
    assert ended.returncode == 0


@pytest.fixture(scope="module")
def credited(folder):
    """``ca.pem``, and files with Content Credentials by it: what `authority` signed of each kind."""
    by = authority()
    grey = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    (folder / "ca.pem").write_bytes(pem(by.certificate))
    (folder / "plain.pdf").write_bytes(pdf())
    for name, data in (("png", png(grey)), ("jpeg", png(grey, "JPEG")), ("pdf", pdf())):
        (folder / f"signed.{name}").write_bytes(by.sign(data, name.upper()))
    (folder / "generated.png").write_bytes(by.sign(png(grey), "PNG", GENERATED))
    (folder / "changed.pdf").write_bytes((folder / "signed.pdf").read_bytes().replace(b"612", b"613", 1))
    spoilt = bytearray((folder / "signed.png").read_bytes())
    at = spoilt.index(b"caBX")
    spoilt[at + 8 : at + 60] = bytes(52)
    (folder / "spoilt.png").write_bytes(spoilt)
    return folder


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (["signed.pdf"], 0, ["unchanged     signed.pdf", "camera", "nobody whom you trust"]),
        (["signed.png", "signed.jpeg"], 0, ["unchanged     signed.png", "unchanged     signed.jpeg"]),
        (["signed.pdf", "--trust", "ca.pem"], 0, ["vouched for   signed.pdf"]),
        (["generated.png"], 0, ["c2pa.created by Maker from trainedAlgorithmicMedia"]),
        (["changed.pdf"], 1, ["CHANGED       changed.pdf", "dataHash.mismatch"]),
        (["spoilt.png"], 1, ["INVALID       spoilt.png"]),
        (["signed.png", "plain.pdf", "changed.pdf"], 1, ["unchanged", "none          plain.pdf", "CHANGED"]),
        (["plain.pdf", "signed.png"], 3, ["none          plain.pdf", "unchanged     signed.png"]),
    ],
    ids=str,
)
def test_content_credentials(names, code, words, credited, monkeypatch):
    monkeypatch.chdir(credited)
    done = run("verify", *names)
    assert done.exit_code == code, done.output
    for word in words:
        assert word in done.stdout


def test_an_intact_file_by_a_stranger_is_3_for_whom_trusts_others(credited, monkeypatch):
    monkeypatch.chdir(credited)
    (credited / "stranger.pem").write_bytes(pem(authority().certificate))
    done = run("verify", "signed.png", "--trust", "stranger.pem")
    assert done.exit_code == 3
    assert done.stdout.startswith("untrusted     signed.png")


@pytest.mark.parametrize(
    "arguments",
    [["nowhere.pdf"], ["signed.pdf", "ca.pem"], ["ca.pem", "--trust", "ca.pem"], ["signed.png", "--trust", "no.pem"]],
    ids=str,
)
def test_what_holds_no_credentials_is_2(arguments, credited, monkeypatch):
    monkeypatch.chdir(credited)
    assert run("verify", *arguments).exit_code == 2


def test_credentials_that_cannot_be_checked_are_2(credited, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    done = run("verify", credited / "signed.pdf")
    assert done.exit_code == 2
    assert "tamperscope[c2pa]" in done.stderr


def test_a_scan_lists_a_signed_pdf_with_the_way_to_read_it(credited, tmp_path):
    for name in ("signed.pdf", "plain.pdf", "photo.png"):
        (tmp_path / name).write_bytes((credited / name).read_bytes())
    skipped = {entry.source[-10:]: entry.reason for entry in tamperscope.read(tmp_path).skipped}
    assert skipped["signed.pdf"] == "a PDF with Content Credentials (C2PA), which tamperscope verify reads"
    assert skipped["/plain.pdf"] == "not an image"
    (failure,) = tamperscope.read(tmp_path / "signed.pdf").failed
    assert "tamperscope verify" in failure.error
