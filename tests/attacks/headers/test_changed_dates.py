from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tamperscope.attacks.headers import ChangedDates
from tamperscope.errors import AttackError


def test_all_dates_move_together_and_the_birth_date_stays(headers, forge):
    for dataset in headers:
        item = Dataset()
        item.ScheduledProcedureStepStartDate = "20200301"
        dataset.RequestAttributesSequence = Sequence([item])
        dataset.AcquisitionDateTime = "20200229120000.5+0100"
    for dataset in forge(ChangedDates(), days=1, which="all"):
        assert dataset.StudyDate == dataset.ContentDate == dataset.AcquisitionDate == "20200301"
        assert dataset.AcquisitionDateTime == "20200301120000.5+0100"
        assert dataset.RequestAttributesSequence[0].ScheduledProcedureStepStartDate == "20200302"
        assert dataset.PatientBirthDate == "19500101"
    assert headers[0].RequestAttributesSequence[0].ScheduledProcedureStepStartDate == "20200301"


def test_what_is_left_contradicts_what_moved(forge):
    study = forge(ChangedDates(), days=-366, which="study")[0]
    assert (study.StudyDate, study.ContentDate) == ("20190228", "20200229")
    examination = forge(ChangedDates(), days=-366, which="examination")[0]
    assert examination.StudyDate == examination.ContentDate == "20190228"


def test_odd_dates_stay_as_they_are(headers, forge):
    for dataset, odd in zip(headers, ("", "20200228", "20200229"), strict=True):
        dataset.ContentDate = odd
    beyond_the_calendar = forge(ChangedDates(), days=10**7, which="all")
    assert [dataset.ContentDate for dataset in beyond_the_calendar] == ["", "20200228", "20200229"]


def test_headers_without_a_study_date_are_refused(headers):
    for dataset in headers:
        dataset.StudyDate = ""
    with pytest.raises(AttackError, match="no Study Date"):
        ChangedDates().sample(headers, np.random.default_rng(0))


def test_it_never_moves_by_nothing(headers):
    drawn = [ChangedDates().sample(headers, np.random.default_rng(seed)) for seed in range(50)]
    assert all(params["days"] != 0 for params in drawn)
    assert {params["which"] for params in drawn} == {"all", "examination", "study"}
