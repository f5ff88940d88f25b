"""Swapped patient: the images filed under somebody else's name, as in insurance fraud or a mix-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tamperscope.attacks.headers.header_attack import copies
from tamperscope.records import JSON

FAMILY = ("Abbot", "Berg", "Costa", "Dunn", "Eriksen", "Faber", "Grant", "Haas", "Ito", "Janssen", "Klein", "Lund")
GIVEN = ("Alex", "Chris", "Jo", "Kim", "Lee", "Mika", "Nico", "Pat", "Robin", "Sam", "Sasha", "Toni")
OTHERS = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientBirthTime",
)
"""What else names a patient (PS3.3 C.2.2 and C.2.3); a careful forger takes it out."""


@dataclass(frozen=True, slots=True)
class SwappedPatient:
    """Another name, number, birth date and sex (Patient Module, PS3.3 C.7.1.1), all of them invented.

    A careful forger also removes other names and makes the age fit; a careless one leaves them, and they contradict.
    """

    name: str = "swapped-patient"

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """The invented person, and whether the forger is careful."""
        year, month, day = (int(rng.integers(*span)) for span in ((1925, 2000), (1, 13), (1, 29)))
        return {
            "patient_name": f"{rng.choice(FAMILY)}^{rng.choice(GIVEN)}",
            "patient_id": f"X{int(rng.integers(10**7)):07d}",
            "birth_date": f"{year}{month:02d}{day:02d}",
            "sex": str(rng.choice(["F", "M"])),
            "careful": bool(rng.integers(2)),
        }

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, Any]) -> list[Dataset]:
        """See `header_attack.HeaderAttack.apply`."""
        forged = copies(datasets)
        for dataset in forged:
            dataset.PatientName, dataset.PatientID = params["patient_name"], params["patient_id"]
            dataset.PatientBirthDate, dataset.PatientSex = params["birth_date"], params["sex"]
            if params["careful"]:
                _fit(dataset, params["birth_date"])
        return forged


def _fit(dataset: Dataset, birth_date: str) -> None:
    for keyword in OTHERS:
        if keyword in dataset:
            del dataset[keyword]
    if "PatientAge" in dataset:
        study_date = str(dataset.get("StudyDate") or "")
        if study_date[:4].isdigit():
            years = int(study_date[:4]) - int(birth_date[:4]) - (study_date[4:8] < birth_date[4:8])
            dataset.PatientAge = f"{max(years, 0):03d}Y"
        else:
            del dataset.PatientAge
