from __future__ import annotations

import numpy as np
import pytest

from datasets import fakes
from tamperscope import phantom
from tamperscope.datasets import ct_gan
from tamperscope.errors import UnreadableError, UnsafePathError

LABELS = """type,uuid,slice,x,y
FB,1001,62,16,5
FM,1001,75,3,20
TB,1001,80,9,9
TM,1002,12,9,9
FM,1003,55,1,2
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
    for seed, (scan, name) in enumerate([("1001", "62"), ("1001", "75"), ("1002", "12")]):
        volume = phantom.chest((1, 24, 20), (2.5, 0.9, 0.9), np.random.default_rng(seed))
        (path,) = phantom.write_dicom(volume, tmp_path / scan)
        path.rename(path.with_name(f"{name}.dcm"))
    return tmp_path


def test_only_tampered_places_whose_slice_is_there_are_listed(root):
    found = ct_gan.labels(root)
    assert found == (
        ct_gan.Label("1001", "62", "removed", row=5, column=16),
        ct_gan.Label("1001", "75", "injected", row=20, column=3),
    )
    assert [label.path(root).name for label in found] == ["62.dcm", "75.dcm"]


def test_each_place_comes_with_its_slice(root):
    found = list(ct_gan.volumes(root))
    assert [label for label, _ in found] == list(ct_gan.labels(root))
    assert all(volume.shape == (1, 24, 20) for _, volume in found)
    assert found[0][1].digest != found[1][1].digest


def test_none_of_the_slices_there_is_an_error(root):
    (root / "labels.csv").write_text("type,uuid,slice,x,y\nFB,7,7,7,7\n", encoding="utf-8")
    with pytest.raises(UnreadableError, match="no slice"):
        ct_gan.labels(root)


@pytest.mark.parametrize(
    "text",
    ["kind,scan\nFB,1\n", "type,uuid,slice,x,y\nFB,1001,62,left,5\n", "type,uuid,slice,x,y\nFB,1001\n"],
    ids=["other columns", "no number", "short row"],
)
def test_a_damaged_table_is_an_error_that_names_it(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"labels\.csv"):
        ct_gan.labels(root)
    (root / "labels.csv").write_bytes(b"\xff\xfe\x00type")
    with pytest.raises(UnreadableError, match=r"labels\.csv"):
        ct_gan.labels(root)


# --- the full layouts ---


@pytest.fixture(params=[fakes.ct_gan_uci, fakes.ct_gan_kaggle], ids=["UCI", "Kaggle"])
def full(request, tmp_path):
    request.param(tmp_path)
    return tmp_path


def test_a_scan_is_part_and_id_and_a_patient_is_the_id(full):
    scans = {(entry.series, entry.patient): entry.label for entry in ct_gan.entries(full)}
    assert scans == {
        ("exp1", "1280"): "forged",
        ("exp1", "2000"): "authentic",
        ("exp1", "6031"): "forged",
        ("exp2", "6031"): "authentic",
        ("exp2", "3000"): "forged",
    }
    (note,) = [note for note in ct_gan.check(full).notes if "both" in note]
    assert note == "in both parts, in different states: 6031"


def test_places_stand_on_their_slice_and_may_be_several(full):
    places = {(entry.patient, entry.path.stem): entry.places for entry in ct_gan.entries(full) if entry.places}
    assert places == {("1280", "1"): ((7, 6), (14, 15)), ("6031", "2"): ((9, 8),), ("3000", "2"): ((12, 11),)}


def test_labels_of_both_parts_find_their_slices(full):
    found = ct_gan.labels(full)
    assert [(label.part, label.scan, label.slice_name) for label in found] == [
        ("exp1", "1280", "1"),
        ("exp1", "1280", "1"),
        ("exp1", "6031", "2"),
        ("exp2", "3000", "2"),
    ]
    assert all(label.path(full).is_file() for label in found)


def test_too_few_scans_are_a_note_and_a_missing_half_is_not_complete(full):
    assert "exp1: 3 scans, 80 were published" in ct_gan.check(full).short
    next(full.rglob("labels_exp2.csv")).unlink()
    assert {entry.series for entry in ct_gan.entries(full)} == {"exp1"}
    assert any("labels_exp2.csv" in what for what in ct_gan.check(full).missing)


def test_the_headers_are_no_scanner(full):
    assert {entry.scanner for entry in ct_gan.entries(full)} == {""}


def test_an_unknown_type_is_refused_by_name(root):
    (root / "labels.csv").write_text("type,uuid,slice,x,y\nXX,1001,62,4,5\n", encoding="utf-8")
    with pytest.raises(UnreadableError, match="unknown type 'XX'"):
        ct_gan.labels(root)


@pytest.mark.parametrize("row", ["FM,../1001,62,4,5", "FM,1001,../1001/62,4,5", "FM,/1001,62,4,5"])
def test_a_table_cannot_name_a_slice_outside(root, row):
    (root / "labels.csv").write_text(f"type,uuid,slice,x,y\n{row}\n", encoding="utf-8")
    with pytest.raises(UnsafePathError, match="outside its folder"):
        ct_gan.labels(root)


def test_labelled_slices_stand_alone_and_whole_scans_stay_whole(root):
    found = {(entry.patient, entry.path.stem): entry for entry in ct_gan.entries(root)}
    assert [found["1001", name].series for name in ("62", "75")] == ["", ""]
    assert found["1001", "62"].places == ((5, 16),)
    assert (found["1002", "12"].series, found["1002", "12"].label) == ("scan", "authentic")
