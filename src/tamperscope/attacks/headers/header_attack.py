"""What a header attack is: another story about the same pixels.

A header attack sees the headers of one series, a data set for each file in the order of the slices, and changes what
they say of the patient, the dates, the identity of the images or their history. It never touches a pixel, and never
the mark by which a forgery says what it is (`MARK`): the writer sets that last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from tamperscope.records import JSON

MARK = ("SyntheticData", "ContributingEquipmentSequence")
"""(0008,001C) and (0018,A001): what no header attack may change."""


class HeaderAttack(Protocol):
    """Forges the headers of a series of DICOM files.

    `sample` draws every choice into a JSON record; `apply` then does nothing that the record does not say, so
    ``apply(datasets, record)`` replays. The record holds no patient's data: what it writes into a header is invented.
    """

    @property
    def name(self) -> str:
        """What records and tables call it."""
        ...

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """Draw the parameters of one forgery.

        Args:
            datasets: the headers of one series as its files hold them, without pixels.
            rng: draws them.

        Raises:
            AttackError: the headers offer nothing to forge.
        """
        ...

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, JSON]) -> list[Dataset]:
        """New data sets that say what ``params`` describe; those that were given stay as they are.

        Pixel Data, where there is any, is passed on untouched.
        """
        ...


def copies(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Data sets of their own, with sequences and meta information of their own; the bytes of pixels are shared."""
    return [copy.deepcopy(dataset) for dataset in datasets]


def elements(dataset: Dataset, vrs: Sequence[str]) -> Iterator[DataElement]:
    """Every element of these value representations, those inside sequences too."""
    for tag in list(dataset.keys()):
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item, vrs)
        elif element.VR in vrs:
            yield element
