"""Changed dates: the examination moved in time, as in a claim that a finding was there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from tamperscope.attacks.headers.header_attack import copies, elements
from tamperscope.errors import AttackError
from tamperscope.records import JSON

STUDY = ("StudyDate",)
EXAMINATION = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime")
BIRTH = "PatientBirthDate"
LONGEST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class ChangedDates:
    """Every date moved by the same number of days, or only those that a viewer shows, or only that of the study.

    Those that are left contradict those that moved. The birth date stays in any case: it belongs to the patient.
    """

    name: str = "changed-dates"

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """Days (never zero), and which dates: "all", "examination" or "study".

        Raises:
            AttackError: the headers state no date of the study.
        """
        if not any(_moved(str(dataset.get("StudyDate") or ""), 0) for dataset in datasets):
            raise AttackError("the headers state no Study Date", hint="choose another header attack")
        days = int(rng.integers(1, LONGEST_DAYS)) * int(rng.choice([-1, 1]))
        return {"days": days, "which": str(rng.choice(["all", "examination", "study"]))}

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, Any]) -> list[Dataset]:
        """See `header_attack.HeaderAttack.apply`."""
        forged = copies(datasets)
        for dataset in forged:
            for element in _chosen(dataset, params["which"]):
                if moved := _moved(str(element.value or ""), int(params["days"])):
                    element.value = moved
        return forged


def _chosen(dataset: Dataset, which: str) -> list[DataElement]:
    if which == "all":
        return [element for element in elements(dataset, ("DA", "DT")) if element.keyword != BIRTH]
    keywords = STUDY if which == "study" else EXAMINATION
    return [dataset[keyword] for keyword in keywords if keyword in dataset]


def _moved(text: str, days: int) -> str | None:
    """A DA or DT value (PS3.5 6.2) some days later; what follows the day stays. None for what is no single day."""
    try:
        day = datetime.strptime(text[:8], "%Y%m%d") + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}{text[8:]}"
