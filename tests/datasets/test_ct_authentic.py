from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets import ct_authentic
from tamperscope.errors import InputError, UnreadableError


def write(folder, depth: int, seed: int):
    volume = phantom.chest((depth, 16, 20), (2.5, 0.9, 0.8), np.random.default_rng(seed))
    phantom.write_dicom(volume, folder)
    return volume


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "lidc" / "L-2", 9, 1)
    write(tmp_path / "dx" / "A-1" / "soft", 8, 2)
    write(tmp_path / "dx" / "A-1" / "sharp", 10, 3)
    write(tmp_path / "tcga" / "T-7", 3, 4)
    (tmp_path / "lidc" / "L-2" / "nodules.xml").write_text("<x/>", encoding="utf-8")
    (tmp_path / "README.md").write_text("no image", encoding="utf-8")
    return tmp_path


def test_patient_and_series_are_the_folders_below_the_collection(root):
    entries = ct_authentic.entries(root)
    assert len(entries) == 30
    found = {(entry.collection, entry.patient, entry.series) for entry in entries}
    assert found == {("lidc", "L-2", "whole"), ("dx", "A-1", "soft"), ("dx", "A-1", "sharp"), ("tcga", "T-7", "")}
    assert list(entries) == sorted(entries, key=lambda entry: entry.path)


def test_whole_series_stay_whole_and_picks_become_single_slices(root):
    found = list(ct_authentic.volumes(ct_authentic.entries(root)))
    depths = {}
    for patient, volume in found:
        depths.setdefault(patient, []).append(volume.shape[0])
    assert {patient: sorted(each) for patient, each in depths.items()} == {"L-2": [9], "A-1": [8, 10], "T-7": [1, 1, 1]}


def test_voxels_come_back_as_they_were_written(tmp_path):
    written = write(tmp_path / "lidc" / "L-2", 9, 1)
    ((_, volume),) = ct_authentic.volumes(ct_authentic.entries(tmp_path))
    assert np.array_equal(volume.voxels, written.voxels)
    assert volume.spacing_mm == pytest.approx((2.5, 0.9, 0.8))


def test_only_the_chosen_files_are_read(root):
    chosen = [entry for entry in ct_authentic.entries(root) if entry.patient == "T-7"]
    assert [patient for patient, _ in ct_authentic.volumes(chosen)] == ["T-7"] * 3
    assert list(ct_authentic.volumes([])) == []


def test_files_that_lie_too_high_are_no_patients(tmp_path):
    write(tmp_path / "collection", 1, 1)
    with pytest.raises(UnreadableError, match="no collection/patient"):
        ct_authentic.entries(tmp_path)


def test_the_first_file_of_a_series_says_modality_and_scanner(root):
    assert {(entry.modality, entry.scanner) for entry in ct_authentic.entries(root)} == {("CT", "tamperscope phantom")}


def test_single_slices_are_noted(root):
    assert ct_authentic.check(root).notes == ("single slices only: T-7",)


def test_two_patients_with_one_key_are_refused(root):
    write(root / "lidc" / "T-7", 1, 9)
    with pytest.raises(InputError, match="lidc and tcga both hold a patient T-7"):
        ct_authentic.entries(root)
