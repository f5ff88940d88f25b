"""What all kinds share, over every modality."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

import studies
from tamperscope import study, weights
from tamperscope.errors import MissingExtraError, UnreadableError, UnsupportedError, UsageError
from tamperscope.formats.dicom import is_result
from tamperscope.report import dicom as objects
from tamperscope.report.dicom import codes

CARD = weights.packaged()[0]
LATER = datetime(2030, 1, 1)


def back(dataset: Dataset) -> Dataset:
    """As another program reads it."""
    return dcmread(BytesIO(objects.encoded(dataset)))


def complaints(path) -> list[str]:
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


@pytest.fixture(scope="module")
def made(case) -> objects.Objects:
    return case.render()


def test_every_kind_is_there(case, made):
    missing = set(objects.KINDS) - set(made)
    colour = case.volume.voxels.ndim == 4
    assert missing == ({"presentation"} if colour else set())
    assert [finding.split(" (")[0] for finding in made.findings] == [
        f"{objects.LEFT_OUT}: {kind}" for kind in sorted(missing)
    ]
    for kind, one in made.items():
        assert one.SOPClassUID in objects.SOP_CLASSES[kind]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_the_validator_finds_no_error(made, tmp_path):
    """None at all, although the enhanced source itself has some: nothing of them is carried over."""
    for path in objects.write(made, tmp_path, "series"):
        assert complaints(path) == [], path.name


def test_a_new_series_each_in_the_study_of_the_source(case, made):
    source = dcmread(case.series.instances[0].path)
    ones = [back(one) for one in made.values()]
    for one in ones:
        assert source.StudyInstanceUID == one.StudyInstanceUID
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
            assert one[keyword].value == source[keyword].value
        assert one.SeriesNumber > 1
        assert "not for diagnosis" in one.SeriesDescription
        assert len(one.SeriesDescription) <= 64
        for uid in (one.SOPInstanceUID, one.SeriesInstanceUID, one.DeviceUID, one.file_meta.ImplementationClassUID):
            assert UID(uid).is_valid
            assert uid.startswith("2.25.")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({str(one[keyword].value) for one in ones}) == len(ones)
    assert source.SeriesInstanceUID not in {one.SeriesInstanceUID for one in ones}


def test_each_names_the_algorithm_and_declares_its_codes(made):
    for one in made.values():
        (equipment,) = one.ContributingEquipmentSequence
        purpose = equipment.PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("1630", "99IHE")
        assert equipment.Manufacturer == "tamperscope"
        assert equipment.DeviceUID == one.DeviceUID
        (scheme,) = one.CodingSchemeIdentificationSequence
        assert scheme.CodingSchemeDesignator == "99TAMPERSCOPE"
        assert "SyntheticData" not in one


def test_no_reference_leads_to_a_stand_in(case, made):
    """Every reference is to a source or to one of the objects; frames are named where there are several."""
    known = {instance.sop_instance_uid for instance in case.series.instances}
    known |= {one.SOPInstanceUID for one in made.values()}
    for one in made.values():
        found = {element.value for element in back(one).iterall() if element.keyword == "ReferencedSOPInstanceUID"}
        assert found
        assert found <= known


def test_the_same_scan_gives_the_same_bytes(case, made):
    again = case.render()
    assert list(again) == list(made)
    for kind, one in made.items():
        assert objects.encoded(one) == objects.encoded(again[kind])


def test_uids_follow_from_input_and_model_but_not_from_the_time(scanned, make):
    one = scanned(make("CT"))

    def uids(**changes):
        return {kind: made.SOPInstanceUID for kind, made in one.render(**changes).items()}

    first = uids()
    assert uids(when=LATER) == first
    card = replace(CARD, sha256="00" * 32)
    point = replace(one.result.operating_point, threshold=0.7)
    other = scanned(make("CT", RescaleIntercept=-1000), "other")
    changed = [uids(models=(card,)), uids(operating_point=point)]
    changed.append({kind: made.SOPInstanceUID for kind, made in other.render().items()})
    for each in changed:
        assert not set(each.values()) & set(first.values())


def test_the_device_changes_with_the_weights_and_with_the_calibration(scanned, make):
    one = scanned(make("CR"))
    retrained = replace(CARD, sha256="00" * 32)
    refitted = replace(CARD, calibration=replace(CARD.calibration, offset=CARD.calibration.offset + 1))
    devices = {
        one.render("keys", models=models)["keys"].DeviceUID for models in ((CARD,), (retrained,), (refitted,), ())
    }
    assert len(devices) == 4


def test_two_models_are_two_items(scanned, make):
    models = (CARD, replace(CARD, name="other", sha256="11" * 32))
    capture = scanned(make("CR")).render("capture", models=models)["capture"]
    assert [item.ManufacturerModelName for item in capture.ContributingEquipmentSequence] == [CARD.name, "other"]
    assert len({item.DeviceUID for item in capture.ContributingEquipmentSequence}) == 2


def test_the_clock_is_not_read(made):
    for one in made.values():
        dates = {
            e.value for e in one if e.keyword.endswith("Date") and e.keyword not in ("StudyDate", "PatientBirthDate")
        }
        assert dates == {"20240506"}


def test_synthetic_stays_synthetic(scanned, make):
    for one in scanned(make("CT", SyntheticData="YES")).render().values():
        assert one.SyntheticData == "YES"


def test_nothing_found_leaves_the_report_and_the_picture(scanned, make):
    clear = {"verdict": "no_evidence", "probability": 0.01, "regions": (), "heatmap": None, "reasons": ()}
    made = scanned(make("CT")).render(**clear)
    assert set(made) == {"sr", "capture"}
    assert made.findings == ()


def test_a_series_that_no_model_takes_is_reported_too(scanned, make):
    nothing = {"verdict": "inconclusive", "probability": None, "regions": (), "heatmap": None, "operating_point": None}
    assert set(scanned(make("SC")).render(models=(), **nothing)) == {"sr", "capture"}


# --- what hospitals send ---


def test_no_patient_is_invented(scanned, make):
    absent = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"))
    for one in scanned(make("CT", **absent)).render().values():
        for keyword in absent:
            assert one[keyword].is_empty


@pytest.mark.parametrize(
    "values",
    [
        {"PatientSex": "unknown", "PatientBirthDate": "1950", "StudyTime": "noon", "PatientAge": "old"},
        {"FrameOfReferenceUID": None, "PositionReferenceIndicator": None},
        {"FrameOfReferenceUID": "not a UID"},
        {"PatientOrientation": None, "Laterality": None},
        {"ImagePositionPatient": [0.0, 0.0, 0.0]},
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]},
        {"PixelSpacing": None},
        {"SeriesNumber": None},
        {"SOPClassUID": "1.2.3.4"},
        {"Modality": "XX"},
    ],
    ids=lambda values: "-".join(values),
)
def test_odd_headers_lose_nothing(scanned, make, values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is written here
        datasets = make("CT", **values)
        for dataset in datasets:
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        one = scanned(datasets)
    made = one.render()
    assert set(made) == set(objects.KINDS)
    for each in made.values():
        back(each)


def test_names_in_other_character_sets_come_through(scanned, make):
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "1", "99LOCAL", "Schädel"
    values = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen", "StudyDescription": "Schädel"}
    one = scanned(make("CT", ProcedureCodeSequence=Sequence([procedure]), **values))
    for each in one.render().values():
        read = back(each)
        assert (str(read.PatientName), read.StudyDescription) == ("Müller^Jürgen", "Schädel")
        assert read.ProcedureCodeSequence[0].CodeMeaning == "Schädel"
        assert read.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_without_its_uids_a_series_has_no_objects(scanned, make, keyword):
    one = scanned(make("CR", **{keyword: None}))
    with pytest.raises(UnsupportedError, match="UID"):
        one.render()


def test_what_is_not_dicom_has_no_objects(scanned, make):
    one = scanned(make("CR"))
    with pytest.raises(UnsupportedError, match="not DICOM"):
        replace(one, series=replace(one.series, format="picture")).render()


def test_a_file_that_changed_is_told(scanned, make):
    one = scanned(make("CR"))
    (one.folder / "0.dcm").write_bytes(b"")
    with pytest.raises(UnreadableError, match="changed"):
        one.render()


def test_two_series_of_a_study_keep_apart(scanned, make):
    first, second = scanned(make("CT")), scanned(make("MR", SeriesInstanceUID="1.2.826.0.1.7.1.9"), "mr")
    uids = [one.SOPInstanceUID for each in (first, second) for one in each.render().values()]
    assert len(set(uids)) == len(uids)


# --- results that come back ---


def test_our_own_results_are_not_analysed_again(made, tmp_path):
    paths = objects.write(made, tmp_path / "results", "series")
    reading = study.read(tmp_path / "results")
    assert [entry.source for entry in reading.skipped] == sorted(str(path) for path in paths)
    assert {entry.reason for entry in reading.skipped} == {"a result of tamperscope"}
    assert not reading.studies
    assert all(is_result(one) for one in made.values())


@pytest.mark.parametrize("kind", ["CT", "SC"])
def test_an_image_does_not_hide_behind_our_equipment(scanned, make, kind):
    """A forger pastes the item on an image; only a derived object of the class and modality of a result is one."""
    item = scanned(make("CR"), "donor").render("capture")["capture"].ContributingEquipmentSequence
    one = scanned(make(kind, ContributingEquipmentSequence=item))
    assert one.series.modality == ("OT" if kind == "SC" else kind)
    disguised = make("CT", ContributingEquipmentSequence=item, ImageType=["DERIVED", "SECONDARY"])
    assert scanned(disguised, "disguised").series.modality == "CT"
    capture = make("SC", ContributingEquipmentSequence=item, ImageType=["DERIVED", "SECONDARY"], Modality="CT")
    assert scanned(capture, "capture").series.modality == "CT"


# --- the call ---


def test_files_are_named_after_series_and_kind(scanned, make, tmp_path):
    made = scanned(make("CR")).render("sr", "capture")
    paths = objects.write(made, tmp_path / "new" / "folder", "chest-2")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "chest-2.capture.dcm",
        "chest-2.sr.dcm",
    ]
    assert dcmread(paths[0]).SOPInstanceUID == next(iter(made.values())).SOPInstanceUID


def test_a_folder_that_cannot_be_written_is_told(scanned, make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        objects.write(scanned(make("CR")).render("sr"), tmp_path / "file", "x")


@pytest.mark.parametrize("kinds", [("sr", "movie"), ()])
def test_kinds_that_do_not_exist_are_refused(kinds):
    with pytest.raises(UsageError, match="kind of DICOM object"):
        objects.check(kinds)


def test_without_highdicom_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"highdicom is not installed.*tamperscope\[dicom\]"):
        objects.check(objects.KINDS)


def test_scanning_does_not_load_highdicom():
    script = "import sys, tamperscope.pipeline; print('highdicom' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_private_codes_are_few_short_and_unique():
    table = codes.code_table()
    assert len({value for value, _, _ in table}) == len(table) > 10
    for value, designator, meaning in table:
        assert designator == "99TAMPERSCOPE"
        assert len(value) <= 16
        assert len(meaning) <= 64


def test_the_volume_is_not_changed(scanned, make):
    one = scanned(make("MR"))
    before = one.volume.voxels.copy()
    one.render()
    assert np.array_equal(before, one.volume.voxels)


def test_studies_of_the_tests_are_valid_themselves(tmp_path, make):
    """Where `dciodvfy` finds no error in an object, none was in the source to excuse one."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dicom3tools is not installed")
    for kind in ("CT", "MR", "CR", "DX", "MG", "US", "SC"):
        folder = studies.write(make(kind), tmp_path / kind)
        assert complaints(folder / "0.dcm") == [], kind
