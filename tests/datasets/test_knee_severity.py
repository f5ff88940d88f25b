from __future__ import annotations

import pytest

from datasets import fakes
from tamperscope.datasets import knee_severity, leaks
from tamperscope.errors import UnreadableError


def test_both_knees_are_one_patient_with_a_grade(tmp_path):
    fakes.knee_severity_small(tmp_path)
    found = {
        entry.path.name: (entry.patient, entry.grade, entry.series, entry.part)
        for entry in knee_severity.entries(tmp_path)
    }
    assert found["9000003L.png"] == found["9000003R.png"] == ("9000003", "kl2", "", "")
    assert found["9000004R.png"][1] == "kl4"


def test_parts_are_as_published(tmp_path):
    fakes.knee_severity(tmp_path)
    parts = {
        entry.patient: (entry.series, entry.part) for entry in knee_severity.entries(tmp_path) if "224" in entry.series
    }
    assert parts == {
        "9000001": ("kneeKL224/train", "train"),
        "9000002": ("kneeKL224/val", "calibrate"),
        "9000003": ("kneeKL224/test", "test"),
        "9000004": ("kneeKL224/auto_test", "test"),
    }


def test_both_sizes_hold_the_same_knees_and_never_part(tmp_path):
    fakes.knee_severity(tmp_path)
    entries = knee_severity.entries(tmp_path)
    assert len(entries) == 16
    assert "both sizes are here: they hold the same knees" in knee_severity.check(tmp_path).notes
    assert leaks.find(entries) == (), "each patient is in one part, in both sizes"


def test_the_published_numbers_are_known(tmp_path):
    fakes.knee_severity_one_size(tmp_path)
    missing = knee_severity.check(tmp_path).missing
    assert [what.split(": ")[1] for what in missing] == [
        "4 of 5,778 pictures",
        "2 of 826 pictures",
        "2 of 1,656 pictures",
        "0 of 1,526 pictures",
    ]


def test_a_picture_without_a_patient_is_refused(tmp_path):
    fakes.knee_severity_small(tmp_path)
    fakes.picture(tmp_path / "kl0" / "knee.png", 1)
    with pytest.raises(UnreadableError, match=r"knee\.png: the name does not begin with a patient"):
        knee_severity.entries(tmp_path)


def test_empty_folders_are_no_data_set(tmp_path):
    (tmp_path / "kl0").mkdir()
    with pytest.raises(UnreadableError, match="no picture"):
        knee_severity.entries(tmp_path)
