"""Copied UIDs: forged images that go by the identity of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tamperscope.attacks.headers.header_attack import copies
from tamperscope.errors import AttackError
from tamperscope.records import JSON


@dataclass(frozen=True, slots=True)
class CopiedUids:
    """The forgery under the UIDs of its source, as CT-GAN's released tool leaves them.

    "source": all of them, for that tool rewrites Pixel Data only. "numbered": those of study and series, and the
    number of the slice for an SOP Instance UID, as it writes slices from MetaImage (Mirsky et al. 2019, as released).
    """

    name: str = "copied-uids"

    def sample(self, datasets: Sequence[Dataset], rng: np.random.Generator) -> dict[str, JSON]:
        """Which kind, and the UIDs of study, series and of each image themselves.

        Raises:
            AttackError: the headers hold no UIDs to copy.
        """
        images = [str(dataset.get("SOPInstanceUID") or "") for dataset in datasets]
        study, series = (str(datasets[0].get(word) or "") for word in ("StudyInstanceUID", "SeriesInstanceUID"))
        if not (study and series and all(images)):
            raise AttackError("the headers lack UIDs to copy", hint="choose another header attack")
        kind = str(rng.choice(["source", "numbered"]))
        named = images if kind == "source" else [str(number) for number in range(1, len(images) + 1)]
        return {"kind": kind, "study": study, "series": series, "images": list(named)}

    def apply(self, datasets: Sequence[Dataset], params: Mapping[str, Any]) -> list[Dataset]:
        """See `header_attack.HeaderAttack.apply`.

        Raises:
            AttackError: the record names another number of images.
        """
        if len(params["images"]) != len(datasets):
            raise AttackError(
                f"the record names {len(params['images'])} images, the series has {len(datasets)}",
                hint="replay it on the series that it was made from",
            )
        forged = copies(datasets)
        for dataset, image in zip(forged, params["images"], strict=True):
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = params["study"], params["series"]
            dataset.SOPInstanceUID = image
            if hasattr(dataset, "file_meta"):
                dataset.file_meta.MediaStorageSOPInstanceUID = image
        return forged
