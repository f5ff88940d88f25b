"""Stripped UIDs: images that no longer say which study, series or frame of reference they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tamperscope.attacks.headers.header_attack import copies
from tamperscope.records import JSON

REFERENCES = (
    "FrameOfReferenceUID",
    "SynchronizationFrameOfReferenceUID",
    "ReferencedImageSequence",
    "SourceImageSequence",
    "ReferencedStudySequence",
    "ReferencedPerformedProcedureStepSequence",
    "InstanceCreatorUID",
    "IrradiationEventUID",
    "DeviceUID",
)
GROUPS = ("StudyInstanceUID", "SeriesInstanceUID")
DEPTHS = {"references": REFERENCES, "groups": REFERENCES + GROUPS, "all": (*REFERENCES, *GROUPS, "SOPInstanceUID")}
"""What goes: references only, or study and series too, or the identity of the image as well (PS3.3 C.12.1)."""


@dataclass(frozen=True, slots=True)
class StrippedUids:
    """UIDs deleted to three depths. The meta information keeps its own, without which there is no DICOM file."""

    name: str = "stripped-uids"

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """How deep: "references", "groups" or "all"; the first only where there is a reference to delete."""
        depths = (
            list(DEPTHS) if any(word in dataset for dataset in datasets for word in REFERENCES) else ["groups", "all"]
        )
        return {"depth": str(rng.choice(depths))}

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, Any]) -> list[Dataset]:
        """See `header_attack.HeaderAttack.apply`."""
        forged = copies(datasets)
        for dataset in forged:
            for keyword in DEPTHS[params["depth"]]:
                if keyword in dataset:
                    del dataset[keyword]
        return forged
