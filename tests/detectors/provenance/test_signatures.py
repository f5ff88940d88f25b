"""Against dcmsign of dcmtk: what it signs holds, and what was changed since is broken."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from builders import ct, rgb, to_bytes
from signing import certificate, curve, holds, needs_dcmsign, pem, sign, signer
from studies import image, stored
from tamperscope import phantom, read
from tamperscope.decode import decode
from tamperscope.detectors.provenance import NOBODY, examine, signatures
from tamperscope.detectors.provenance.opened import opened
from tamperscope.detectors.provenance.trust import Trust
from tamperscope.errors import TamperscopeError, UnreadableError
from tamperscope.limits import DEFAULT_LIMITS

PATIENT = ("PatientName", "PatientID", "PatientBirthDate")


@pytest.fixture(scope="module")
def ca():
    return certificate("ca", "ca", issues=True)


@pytest.fixture(scope="module")
def scanner(tmp_path_factory):
    """A scanner with a certificate by the hospital's authority."""
    return signer(tmp_path_factory.mktemp("keys"), certificate("scanner", "ca"), "scanner")


@pytest.fixture
def trusted(ca):
    return Trust((ca,))


def slice_(**values) -> Dataset:
    """A CT slice with a sequence, a private element and a character set in it."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "odd"
    nested = Dataset()
    nested.PurposeOfReferenceCodeSequence, nested.PixelRepresentation = Sequence([code]), 0
    made = ct(SpecificCharacterSet="ISO_IR 192", SourceImageSequence=Sequence([nested, code]), **values)
    made.add_new(0x00090010, "LO", "SOMEBODY")
    made.add_new(0x00091001, "LO", "private")
    made.add_new(0x00280106, "US or SS", 5)
    made["SmallestImagePixelValue"].VR = "SS"
    return made


def outcome(data: bytes, trusted=NOBODY):
    """State and findings of one file as a series."""
    (series,) = read(data).studies[0].series
    return examine(series, decode(series), trusted=trusted)


def severities(found) -> set[str]:
    return {one.severity for one in found.findings}


def converted(data: bytes, folder, *options: str, tool: str = "dcmconv") -> bytes:
    (folder / "in.dcm").write_bytes(data)
    subprocess.run([tool, *options, folder / "in.dcm", folder / "out.dcm"], check=True, capture_output=True)
    return (folder / "out.dcm").read_bytes()


@needs_dcmsign
def test_round_trip(scanner, trusted, tmp_path):
    """Signed: verified. One bit of a pixel, one of a header: broken. What is not signed: as before."""
    data = sign(scanner, to_bytes(slice_()), tmp_path)
    found = outcome(data, trusted)
    assert (found.state, severities(found)) == ("verified", {"note"})
    assert outcome(data).state == "absent", "nobody is trusted"
    assert any("nobody whom you trust" in one.text for one in outcome(data).findings)

    at = len(data) - dcmread(BytesIO(data))["DigitalSignaturesSequence"].value[0].get_item(0x04000120).length
    pixels = data.index(dcmread(BytesIO(data)).PixelData)
    assert pixels < at
    for position in (pixels, pixels + 101, data.index(b"odd "), data.index(b"2.5\\") if b"2.5\\" in data else pixels):
        changed = bytearray(data)
        changed[position] ^= 1
        found = outcome(bytes(changed), trusted)
        assert (found.state, found.findings[0].severity) == ("broken", "alarm")
        assert not holds(bytes(changed), tmp_path, trusted.anchors[0])


@needs_dcmsign
def test_what_is_not_signed_may_change(scanner, trusted, tmp_path):
    every = [element.tag for element in slice_() if element.keyword != "PatientName"]
    tags = [part for tag in every for part in ("-t", f"{tag.group:04x},{tag.element:04x}")]
    data = sign(scanner, to_bytes(slice_()), tmp_path, *tags)
    changed = data.replace(b"Secret^Name", b"Other^Names")
    assert changed != data
    assert holds(changed, tmp_path, trusted.anchors[0])
    found = outcome(changed, trusted)
    assert found.state == "verified"
    assert any("does not cover PatientName" in one.text for one in found.findings)


@needs_dcmsign
@pytest.mark.parametrize("mac", ["+mr", "+ms", "+mm", "+m2", "+m3", "+m5"])
def test_every_mac(scanner, trusted, tmp_path, mac):
    data = sign(scanner, to_bytes(slice_()), tmp_path, mac)
    assert outcome(data, trusted).state == "verified"
    weak = any(one.check == "signature-weak" for one in outcome(data, trusted).findings)
    assert weak == (mac in ("+ms", "+mm"))
    assert outcome(data.replace(b"private", b"privatE"), trusted).state == "broken"


@needs_dcmsign
@pytest.mark.parametrize("mac", ["+m2", "+m3", "+m5"])
def test_keys_of_elliptic_curves(tmp_path, mac):
    made = curve(tmp_path)
    data = sign(made, to_bytes(slice_()), tmp_path, mac)
    assert outcome(data, Trust((made.certificate,))).state == "verified"
    assert outcome(data.replace(b"odd ", b"old "), Trust((made.certificate,))).state == "broken"


@needs_dcmsign
def test_a_key_and_a_hash_that_do_not_go_together_cannot_be_checked(tmp_path):
    (found,) = outcome(sign(curve(tmp_path), to_bytes(slice_()), tmp_path, "+mr")).findings
    assert (found.check, found.severity) == ("signature-unchecked", "warning")


def test_an_element_that_is_there_twice_is_no_ground_for_a_signature(of):
    """Readers differ in which of the two they take."""
    made = slice_()
    made.MACParametersSequence = Sequence([Dataset()])
    data = to_bytes(made)
    slope = data[data.index(b"\x28\0\x53\x10DS") :][:12]
    with pytest.raises(UnreadableError):
        list(signatures.check(of(data.replace(slope, slope + slope)), NOBODY))
    pixels = data[data.index(b"\xe0\x7f\x10\0OW") :]
    with pytest.raises(UnreadableError):
        list(signatures.check(of(data + pixels), NOBODY))


@needs_dcmsign
@pytest.mark.parametrize("profile", ["+pb", "+pc", "+pa"])
def test_every_profile(scanner, trusted, tmp_path, profile):
    made = to_bytes(image("CT", stored((8, 8), 0, 99)))
    assert outcome(sign(scanner, made, tmp_path, profile, "+sp", "14"), trusted).state == "verified"


@needs_dcmsign
@pytest.mark.parametrize("kind", ["implicit", "big endian", "undefined lengths", "rle", "jpeg", "frames", "colour"])
def test_every_encoding(scanner, trusted, tmp_path, kind):
    data = to_bytes(slice_())
    if kind == "implicit":
        plain = slice_()
        del plain[0x00091001]
        data = converted(to_bytes(plain), tmp_path, "+ti")
        assert dcmread(BytesIO(data)).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    elif kind == "big endian":
        data = converted(data, tmp_path, "+tb")
        assert dcmread(BytesIO(data)).file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    elif kind == "undefined lengths":
        data = converted(data, tmp_path, "-e")
    elif kind == "rle":
        data = converted(data, tmp_path, tool="dcmcrle")
    elif kind == "jpeg":
        data = converted(to_bytes(ct(stored((64, 64), 0, 255, "<u2"))), tmp_path, "+el", tool="dcmcjpeg")
    elif kind == "frames":
        data = converted(to_bytes(image("US", stored((3, 64, 64), 0, 255, "u1"))), tmp_path, tool="dcmcrle")
    elif kind == "colour":
        data = to_bytes(rgb(stored((8, 8, 3), 0, 255, "u1")))
    signed = sign(scanner, data, tmp_path)
    assert holds(signed, tmp_path, trusted.anchors[0])
    found = outcome(signed, trusted)
    assert found.state == "verified", found
    changed = bytearray(signed)
    changed[signed.rindex(b"\xfa\xff\xfa\xff" if kind != "big endian" else b"\xff\xfa\xff\xfa") - 20] ^= 1
    if kind in ("rle", "jpeg", "frames"):  # the codestream may be damaged by it, which is told before
        parsed = opened(bytes(changed), "x", "dicom", DEFAULT_LIMITS)
        seen = list(signatures.check(parsed, trusted))
        assert [one.state for one in seen] == ["broken"]
    else:
        assert outcome(bytes(changed), trusted).state == "broken"


@needs_dcmsign
@pytest.mark.parametrize("options", [("+ti",), ("+tb",), ("-e",), ("+ti", "-e")], ids=" ".join)
def test_what_archives_do_to_a_file_is_no_change(scanner, trusted, tmp_path, options):
    """Byte order, VR and lengths are not under a signature; a VR that implicit loses for good cannot be checked."""
    plain = slice_()
    del plain[0x00091001]
    data = converted(sign(scanner, to_bytes(plain), tmp_path), tmp_path, *options)
    assert holds(data, tmp_path, trusted.anchors[0])
    assert outcome(data, trusted).state == "verified"
    private = converted(sign(scanner, to_bytes(slice_()), tmp_path), tmp_path, *options)
    found = outcome(private, trusted)
    lost = options[0] == "+ti"
    assert found.state == ("absent" if lost else "verified")
    assert any("implicit VR does not keep it" in one.text for one in found.findings) == lost


@needs_dcmsign
def test_several_signatures_and_one_in_an_item(scanner, trusted, tmp_path):
    once = sign(scanner, to_bytes(slice_()), tmp_path, item="SourceImageSequence[0]")
    found = outcome(once, trusted)
    assert found.state == "absent", "an item that is signed says nothing of the image"
    assert any("SourceImageSequence[1]" in one.text for one in found.findings)
    assert outcome(once.replace(b"odd ", b"old "), trusted).state == "broken"
    twice = sign(scanner, sign(scanner, to_bytes(slice_()), tmp_path), tmp_path, "+m5")
    assert len(dcmread(BytesIO(twice)).DigitalSignaturesSequence) == 2
    assert outcome(twice, trusted).state == "verified"
    assert outcome(twice.replace(b"odd ", b"old "), trusted).state == "broken"


@needs_dcmsign
@pytest.mark.parametrize(
    ("tags", "words"), [(("PixelData",), "does not cover SOP"), (("Rows", "Columns"), "nothing of the picture")]
)
def test_a_signature_that_leaves_something_out_verifies_nothing(scanner, trusted, tmp_path, tags, words):
    data = sign(scanner, to_bytes(slice_()), tmp_path, *(part for tag in tags for part in ("-t", tag)))
    found = outcome(data, trusted)
    assert found.state == "absent"
    assert any(words in one.text and one.severity == "warning" for one in found.findings)


@needs_dcmsign
def test_who_vouches(scanner, ca, tmp_path):
    data = sign(scanner, to_bytes(slice_()), tmp_path)
    other = certificate("other", "other", issues=True)
    no_issuer = certificate("ca", "ca", issues=False)
    states = [outcome(data, Trust(anchors)).state for anchors in ((ca,), (other, ca), (scanner.certificate,))]
    assert states == ["verified"] * 3
    assert [outcome(data, Trust((one,))).state for one in (other, no_issuer)] == ["absent"] * 2
    forger = signer(tmp_path, certificate("forger", "forger"), "forger")
    assert outcome(sign(forger, to_bytes(slice_()), tmp_path), Trust((ca,))).state == "absent"


@needs_dcmsign
def test_a_signature_dated_outside_its_certificate_contradicts(tmp_path, ca):
    late = certificate("late", "ca", last=datetime(2016, 1, 1, tzinfo=UTC))
    found = outcome(sign(signer(tmp_path, late, "late"), to_bytes(slice_()), tmp_path), Trust((ca,)))
    assert found.state == "contradictory"
    assert any(one.check == "signature-time" for one in found.findings)


@needs_dcmsign
def test_a_signature_that_was_taken_away(scanner, trusted, tmp_path):
    made = [ct(index=index) for index in range(3)]
    signed = [sign(scanner, to_bytes(one), tmp_path) for one in made]
    (series,) = read(signed).studies[0].series
    assert examine(series, decode(series), trusted=trusted).state == "verified"
    (series,) = read([*signed[:2], to_bytes(made[2])]).studies[0].series
    found = examine(series, decode(series), trusted=trusted)
    assert found.state == "contradictory"
    assert [len(one.files) for one in found.findings if one.check == "signature-lost"] == [1]
    stripped = dcmread(BytesIO(signed[0]))
    del stripped[0xFFFAFFFA]
    assert any(one.check == "signature-lost" for one in outcome(to_bytes(stripped), trusted).findings)
    stripped = dcmread(BytesIO(signed[0]))
    del stripped[0x4FFE0001]
    (lost,) = [one for one in outcome(to_bytes(stripped), trusted).findings if one.severity == "warning"]
    assert "MAC Parameters" in lost.text


@needs_dcmsign
def test_pixels_that_were_encoded_anew_cannot_be_checked(scanner, trusted, tmp_path):
    signed = sign(scanner, to_bytes(ct(stored((64, 64), 0, 255))), tmp_path)
    found = outcome(converted(signed, tmp_path, tool="dcmcrle"), trusted)
    assert found.state == "absent"
    assert any("cannot be checked: the pixel data was signed in transfer syntax" in one.text for one in found.findings)


@needs_dcmsign
def test_no_patient_is_named(scanner, trusted, tmp_path):
    data = sign(scanner, to_bytes(slice_(PatientID="SECRET-ID")), tmp_path)
    text = str(outcome(data.replace(b"odd ", b"old "), trusted))
    assert "Secret" not in text
    assert "SECRET" not in text


def test_without_signatures_nothing_is_said(trusted, of):
    assert list(signatures.check(of(slice_()), trusted)) == []
    assert not list(signatures.lost([], ["a", "b"]))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**16), st.sampled_from(list(signatures.DIGESTS)))
def test_wild_signatures_raise_only_our_errors(wild, number, algorithm):
    parameters, item = Dataset(), Dataset()
    parameters.MACIDNumber, parameters.MACAlgorithm = 0, algorithm
    parameters.MACCalculationTransferSyntaxUID = "1.2.840.10008.1.2.1"
    parameters.DataElementsSigned = [0x00080018, number, 0x7FE00010]
    item.MACIDNumber, item.DigitalSignatureDateTime = number % 2, f"202001{1 + number % 28:02}"
    item.CertificateOfSigner = item.Signature = wild
    made = ct()
    made.MACParametersSequence, made.DigitalSignaturesSequence = Sequence([parameters]), Sequence([item])
    try:
        data = to_bytes(made)
    except ValueError:
        return
    cut = data[: len(data) - number % 60]
    for one in (data, cut):
        try:
            list(signatures.check(opened(one, "x", "dicom", DEFAULT_LIMITS), NOBODY))
        except TamperscopeError:
            continue


def test_a_phantom_carries_no_signature(tmp_path):
    phantom.write_dicom(phantom.chest((2, 16, 16), (2.5, 0.9, 0.9)), tmp_path)
    (series,) = read(tmp_path).studies[0].series
    found = examine(series, decode(series))
    assert found.state == "absent"
    assert not any(one.check.startswith("signature") for one in found.findings)


def test_certificates_are_said_by_name(ca):
    from tamperscope.detectors.provenance import trust

    assert trust.described(ca).startswith("ca, issued by itself, SHA-256 ")
    assert Trust((ca,)).pem.encode() == pem(ca)
