from __future__ import annotations

from studies import PATIENT
from tamperscope.attacks.headers import SwappedPatient

PERSON = {"patient_name": "Berg^Kim", "patient_id": "X1", "birth_date": "19800301", "sex": "M"}


def test_every_image_names_the_same_other_person(headers, forge):
    forged = forge(SwappedPatient(), **PERSON)
    for dataset in forged:
        assert (dataset.PatientName, dataset.PatientID) == ("Berg^Kim", "X1")
        assert (dataset.PatientBirthDate, dataset.PatientSex) == ("19800301", "M")
    assert headers[0].PatientName == PATIENT


def test_a_careful_forger_leaves_no_contradiction_and_a_careless_one_does(headers, forge):
    for dataset in headers:
        dataset.OtherPatientNames = PATIENT
    careful = forge(SwappedPatient(), **PERSON, careful=True)[0]
    careless = forge(SwappedPatient(), **PERSON, careful=False)[0]
    assert PATIENT not in str(careful)
    assert careful.PatientAge == "039Y", "born in March, examined in February"
    assert careless.OtherPatientNames == PATIENT
    assert careless.PatientAge == "070Y"


def test_an_age_that_cannot_be_computed_is_left_out(headers, forge):
    for dataset in headers:
        dataset.StudyDate = ""
    assert "PatientAge" not in forge(SwappedPatient(), **PERSON, careful=True)[0]
