from __future__ import annotations

from dataclasses import replace

import pytest

from tamperscope import phantom, read
from tamperscope.decode import decode
from tamperscope.detectors import provenance

SYNTHESIZED = {"purpose": "109100", "manufacturer": "x"}
MODIFIED = {"purpose": "(109103, DCM)"}
SCANNER = {"purpose": "109101"}


def test_a_header_that_declares_nothing_is_absent_not_guilty():
    found = provenance({"manufacturer": "m", "image_type": ["ORIGINAL", "PRIMARY"]})
    assert (found.state, found.findings) == ("absent", ())
    assert provenance({}).state == "absent"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"synthetic_data": "YES"}, "(0008,001C)"),
        ({"contributing_equipment": [SYNTHESIZED]}, "Synthesizing Equipment"),
        ({"contributing_equipment": [SCANNER, MODIFIED]}, "Modifying Equipment"),
        ({"lossy": True}, "(0028,2110)"),
    ],
)
def test_what_the_header_declares_is_a_finding(header, words):
    found = provenance(header)
    assert found.state == "absent"
    assert len(found.findings) == 1
    assert words in found.findings[0].text


@pytest.mark.parametrize("maker", [SYNTHESIZED, MODIFIED])
def test_an_original_that_a_device_made_contradicts_itself(maker):
    found = provenance({"image_type": ["ORIGINAL", "PRIMARY"], "contributing_equipment": [maker]})
    assert found.state == "contradictory"
    assert len(found.findings) == 2


def test_other_equipment_and_derived_pictures_contradict_nothing():
    assert provenance({"image_type": ["ORIGINAL"], "contributing_equipment": [SCANNER]}).state == "absent"
    assert provenance({"image_type": ["DERIVED"], "contributing_equipment": [MODIFIED]}).state == "absent"


@pytest.mark.parametrize(
    "header",
    [
        {"contributing_equipment": "109100"},
        {"contributing_equipment": [None, 3, "x", {}]},
        {"image_type": "ORIGINAL"},
        {"image_type": []},
        {"image_type": None, "synthetic_data": None, "lossy": None},
        {"synthetic_data": "NO", "lossy": False},
    ],
    ids=str,
)
def test_headers_of_any_shape_are_taken(header):
    assert provenance(header).findings == ()


def test_what_this_program_writes_owns_up_to_it(tmp_path):
    phantom.write_dicom(phantom.chest((1, 16, 16), (2.5, 0.9, 0.9)), tmp_path)
    volume = decode(read(tmp_path).studies[0].series[0])
    found = provenance(volume.header)
    assert any("Synthetic Data" in finding.text for finding in found.findings)
    assert any("Synthesizing Equipment" in finding.text for finding in found.findings)
    assert found.state == "absent"
    called = replace(volume, header={**volume.header, "image_type": ["ORIGINAL", "PRIMARY"]})
    assert provenance(called.header).state == "contradictory"
