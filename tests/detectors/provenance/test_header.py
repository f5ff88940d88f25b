from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, JPEGBaseline8Bit

from builders import ct, to_bytes
from tamperscope import phantom, read
from tamperscope.decode import decode
from tamperscope.detectors.provenance import examine, header


def equipment(code: str) -> Sequence:
    purpose, entry = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code, "DCM", "x"
    entry.PurposeOfReferenceCodeSequence, entry.Manufacturer = Sequence([purpose]), "m"
    return Sequence([entry])


ORIGINAL, DERIVED = ["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"]
CODE = Sequence([Dataset()])
CODE[0].CodeValue = "113076"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ImageType": ORIGINAL}, []),
        ({"SyntheticData": "NO"}, []),
        ({"SyntheticData": "YES"}, [("synthetic-data", "warning", "absent")]),
        ({"ContributingEquipmentSequence": equipment("109101"), "ImageType": ORIGINAL}, []),
        ({"ContributingEquipmentSequence": equipment("109100")}, [("contributing-equipment", "warning", "absent")]),
        (
            {"ContributingEquipmentSequence": equipment("109103"), "ImageType": DERIVED, "DerivationDescription": "x"},
            [("contributing-equipment", "warning", "absent")],
        ),
        (
            {"ContributingEquipmentSequence": equipment("109103"), "ImageType": ORIGINAL},
            [("contributing-equipment", "warning", "absent"), ("image-type", "warning", "contradictory")],
        ),
        ({"ImageType": DERIVED}, [("derivation", "note", "absent")]),
        ({"ImageType": DERIVED, "DerivationDescription": "x"}, []),
        ({"ImageType": ORIGINAL, "DerivationCodeSequence": CODE}, [("derivation", "warning", "contradictory")]),
        ({"ImageType": ORIGINAL, "SourceImageSequence": CODE}, [("derivation", "note", "absent")]),
        (
            {"ImageType": ORIGINAL, "DerivationCodeSequence": CODE, "LossyImageCompression": "01"},
            [("lossy", "note", "absent")],
        ),
        ({"LossyImageCompression": "00"}, []),
        ({"LossyImageCompression": "01"}, [("lossy", "note", "absent")]),
        (
            {"LossyImageCompression": "00", "LossyImageCompressionRatio": 10},
            [("lossy", "warning", "contradictory")],
        ),
        (
            {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": [10, 5],
                "LossyImageCompressionMethod": ["ISO_10918_1", "ISO_15444_1"],
            },
            [("lossy", "note", "absent"), ("lossy-twice", "warning", "absent")],
        ),
    ],
    ids=str,
)
def test_what_the_header_declares(of, said, values, expected):
    assert said(header.check(of(ct(**values)))) == expected


@pytest.mark.parametrize(
    ("syntax", "values", "expected"),
    [
        (JPEGBaseline8Bit, {"LossyImageCompression": "00"}, [("lossy", "warning", "contradictory")]),
        (JPEGBaseline8Bit, {"LossyImageCompression": "01"}, [("lossy", "note", "absent")]),
        (JPEG2000, {"LossyImageCompression": "00"}, []),
        (
            JPEGBaseline8Bit,
            {"LossyImageCompression": "01", "LossyImageCompressionMethod": "ISO_15444_1"},
            [("lossy", "note", "absent"), ("lossy-method", "warning", "absent")],
        ),
    ],
    ids=str,
)
def test_the_transfer_syntax_against_the_flag(of, said, syntax, values, expected):
    made = ct(syntax=syntax, **values)
    made.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    made["PixelData"].is_undefined_length = True
    assert said(header.check(of(made))) == expected


def test_every_finding_names_its_clause_and_file(of):
    values = {"SyntheticData": "YES", "LossyImageCompression": "01", "ImageType": DERIVED}
    for one in header.check(of(ct(**values), source="a.dcm")):
        assert one.finding.clause.startswith("PS3.3")
        assert one.finding.files == ("a.dcm",)


def test_what_this_program_writes_owns_up_to_it(tmp_path):
    phantom.write_dicom(phantom.chest((2, 16, 16), (2.5, 0.9, 0.9)), tmp_path)
    (series,) = read(tmp_path).studies[0].series
    found = examine(series, decode(series))
    assert any("Synthetic Data" in finding.text for finding in found.findings)
    assert any("Synthesizing Equipment" in finding.text for finding in found.findings)
    assert found.state == "absent"
    assert all(finding.files == () for finding in found.findings), "what holds for all files names none"


def test_pictures_have_no_header(of):
    assert list(header.check(of(to_bytes(ct(SyntheticData="YES")), "picture"))) == []
