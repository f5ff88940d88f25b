"""Removed lossy flags: a series that no longer owns up to its lossy compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tamperscope.attacks.headers.header_attack import copies
from tamperscope.errors import AttackError
from tamperscope.records import JSON

FLAG = "LossyImageCompression"
DETAILS = (
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "DerivationDescription",
    "DerivationCodeSequence",
)


@dataclass(frozen=True, slots=True)
class RemovedLossyFlags:
    """Lossy Image Compression (0028,2110) deleted or set to "00", which no image that was "01" may be again.

    PS3.3 C.7.6.1.1.5: once lossy, always lossy. The ratio, the method and the description of the derivation go too.
    """

    name: str = "removed-lossy-flags"

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """Deleted ("absent") or denied ("00").

        Raises:
            AttackError: no header declares a lossy compression.
        """
        if not any(dataset.get(FLAG) == "01" for dataset in datasets):
            raise AttackError(
                "no header declares lossy compression (0028,2110), so there is no flag to remove",
                hint="choose another header attack",
            )
        return {"flag": str(rng.choice(["absent", "00"]))}

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, Any]) -> list[Dataset]:
        """See `header_attack.HeaderAttack.apply`."""
        forged = copies(datasets)
        for dataset in forged:
            for keyword in (FLAG, *DETAILS):
                if keyword in dataset:
                    del dataset[keyword]
            if params["flag"] != "absent":
                dataset.LossyImageCompression = params["flag"]
        return forged
