from __future__ import annotations

import numpy as np
import pytest

from builders import pixels, to_bytes
from studies import image
from tamperscope import phantom, read
from tamperscope.attacks import headers
from tamperscope.decode import decode
from tamperscope.detectors.provenance import examine, instances


def series(of, count: int = 8, **odd):
    """The facts of a series, whose third file has the values ``odd``; what begins with ``meta_`` is of its meta."""
    made = []
    for index in range(count):
        one = image("CT", pixels(8, 8), index)
        one.file_meta.ImplementationClassUID = "1.2.3.4"
        for word, value in (odd if index == 2 else {}).items():
            setattr(one.file_meta if word.startswith("meta_") else one, word.removeprefix("meta_"), value)
        made.append(of(bytes_of(one), source=f"{index}.dcm"))
    return [instances.facts(one) for one in made]


def bytes_of(dataset) -> bytes:
    """Written without pydicom's repair of the meta information."""
    kept = dict(dataset.file_meta.items())
    data = to_bytes(dataset)
    own = kept.get(0x00020003)
    if own is not None and own.value != dataset.SOPInstanceUID:
        # pydicom writes the UID of the data set there; the first of the two is that of the meta information.
        data = data.replace(str(dataset.SOPInstanceUID).encode(), str(own.value).encode(), 1)
    return data


def test_an_ordinary_series_is_silent(of):
    assert list(instances.check(series(of))) == []
    assert list(instances.check([])) == []


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({"Manufacturer": "Other"}, ("stranger", "contradictory")),
        ({"ManufacturerModelName": "Other"}, ("stranger", "contradictory")),
        ({"SoftwareVersions": "9"}, ("stranger", "contradictory")),
        ({"ConvolutionKernel": "B70f"}, ("stranger", "contradictory")),
        ({"KVP": 100}, ("stranger", "contradictory")),
        ({"RescaleIntercept": 0}, ("stranger", "contradictory")),
        ({"meta_ImplementationClassUID": "1.2.3.9"}, ("stranger-file", "absent")),
        ({"SOPInstanceUID": "1.9.8.7.6"}, ("uid-root", "absent")),
        ({"SOPInstanceUID": "3"}, ("uid", "contradictory")),
        ({"InstanceNumber": 1}, ("header-twice", "absent")),
        ({"meta_MediaStorageSOPInstanceUID": "1.2.826.0.1.7.1.1.9"}, ("uid-meta", "contradictory")),
        ({"StudyDate": "20990101"}, ("date", "contradictory")),
        ({"ContentDate": "20190101"}, ("date", "contradictory")),
        ({"InstanceCreationDate": "20190101"}, ("date", "contradictory")),
        ({"StudyDate": "20180101"}, ("date", "absent")),
        ({"AcquisitionDate": "19500101", "ContentDate": "19500101"}, ("date", "absent")),
        ({"PatientBirthDate": "19900101"}, ("age", "absent")),
    ],
    ids=str,
)
def test_one_file_that_cannot_be_or_stands_apart(of, odd, expected):
    found = list(instances.check(series(of, **odd)))
    assert expected in [(one.finding.check, one.state) for one in found]
    (one, *_) = [one for one in found if (one.finding.check, one.state) == expected]
    assert "2.dcm" in one.finding.files
    assert "Secret" not in str(found)
    assert "1950" not in one.finding.text


@pytest.mark.parametrize(
    "same",
    [
        {"InstanceCreationDate": "20240101"},
        {"ContentDate": "20200301"},
        {"SoftwareVersions": None, "ConvolutionKernel": None},
        {"meta_MediaStorageSOPInstanceUID": "1.2.826.0.1.7.1.1.3"},
    ],
    ids=str,
)
def test_what_may_differ(of, same):
    found = instances.check(series(of, **{word: value for word, value in same.items() if value is not None}))
    assert [one.state for one in found] == []


def test_halves_of_a_series_are_no_few_strangers(of):
    """A scan in two steps, say: only a small part that differs stands apart."""
    made = series(of, 4) + [instances.facts(of(to_bytes(image("CT", pixels(8, 8), k, KVP=100)))) for k in range(4, 8)]
    assert not [one for one in instances.check(made) if one.finding.check == "stranger"]


def test_slopes_of_pet_differ_by_slice(of):
    made = [
        instances.facts(of(to_bytes(image("CT", pixels(8, 8), k, Modality="PT", RescaleSlope=1 + (k == 2)))))
        for k in range(8)
    ]
    assert not [one for one in instances.check(made) if one.state == "contradictory"]


def test_uids_that_are_shared(of):
    made = series(of, 3)
    (found,) = [one for one in instances.check([*made, made[0]]) if one.finding.check == "uid-shared"]
    assert found.state == "contradictory"


@pytest.mark.parametrize(("attack", "params"), [("changed-dates", {"days": -700, "which": "study"})], ids=str)
def test_attacks_on_headers_are_seen(of, attack, params):
    made = [image("CT", pixels(8, 8), index) for index in range(3)]
    forged = headers.every()[attack].apply(made, params)
    assert list(instances.check([instances.facts(of(to_bytes(one))) for one in forged]))


def test_a_slice_by_another_scanner_names_its_file(tmp_path):
    for index in range(6):
        one = image("CT", np.full((8, 8), index, np.int16), index)
        if index == 4:
            one.Manufacturer = "Another"
        (tmp_path / f"{index}.dcm").write_bytes(to_bytes(one))
    (series,) = read(tmp_path).studies[0].series
    found = examine(series, decode(series))
    assert found.state == "contradictory"
    (stranger,) = [one for one in found.findings if one.check == "stranger"]
    assert [name[-5:] for name in stranger.files] == ["4.dcm"]


def test_phantoms_do_not_contradict_themselves(tmp_path):
    phantom.write_dicom(phantom.chest((6, 16, 16), (2.5, 0.9, 0.9)), tmp_path)
    (series,) = read(tmp_path).studies[0].series
    assert examine(series, decode(series)).state == "absent"
