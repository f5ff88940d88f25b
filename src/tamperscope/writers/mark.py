"""The mark: how a file says that this program made or changed what it holds.

No option turns it off. A writer gets the mark with the voxels and refuses to write without it whatever differs from
its source (`check`). A pristine twin is its source, voxel for voxel, under new UIDs: it goes unmarked, because its
picture is authentic, and says so by the prefix of its file names alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from pydicom.dataset import Dataset

from tamperscope import __version__
from tamperscope.errors import UsageError
from tamperscope.records import Volume

Role: TypeAlias = Literal["forged", "benign", "twin"]
"""What a series is in a benchmark, and the first part of its file names: a forgery, a benign change, or a twin."""
TWIN: Role = "twin"
PURPOSE, PURPOSE_MEANING = "109100", "Synthesizing Equipment"
"""DICOM PS3.16 CID 7005, Contributing Equipment Purposes of Reference."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Says what was done, and by which record it can be replayed."""

    attack: str
    record: str
    """SHA-256 of the record's order (`record.digest`), hexadecimal."""
    role: Role = "forged"
    """A twin is marked where benign steps changed it."""

    @property
    def text(self) -> str:
        """One sentence for the text fields of any format, ASCII."""
        return (
            f"Synthetic data: YES. Made or changed by tamperscope {__version__} ({self.attack}); "
            f"not a record of a patient. Record sha256 {self.record}"
        )

    @property
    def short(self) -> str:
        """The same in the 79 bytes that a NIfTI header has."""
        return f"Synthetic data: YES. Not a patient. By tamperscope, record {self.record[:16]}"


def prefix(mark: Mark | None) -> str:
    """How the name of a file begins."""
    return f"{TWIN if mark is None else mark.role}-"


def check(mark: Mark | None, original: Volume, volume: Volume, *, edited: bool = False) -> None:
    """Refuse what would leave the program unmarked.

    Args:
        mark: None for a pristine twin.
        original: the voxels as they were read.
        volume: those to be written.
        edited: whether a header was forged.

    Raises:
        UsageError: there is no mark, and a voxel or the header differs from the source.
    """
    if mark is None and (edited or not np.array_equal(volume.voxels, original.voxels)):
        raise UsageError(
            "a forgery is not written without its mark", hint="pass the Mark of its record; only a twin has none"
        )


def stamp(dataset: Dataset, mark: Mark) -> None:
    """Synthetic Data (0008,001C) = YES, and one more item of Contributing Equipment (0018,A001) (PS3.3 C.12.1).

    Items that are there already stay: they are the history of the source.
    """
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = PURPOSE, "DCM", PURPOSE_MEANING
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.Manufacturer = equipment.ManufacturerModelName = "tamperscope"
    equipment.SoftwareVersions = __version__
    equipment.ContributionDescription = mark.text
    dataset.SyntheticData = "YES"
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or ()), equipment]
