"""Benign: the whole picture in another size and back, as viewers, exports and networks do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Resize:
    """Every slice by a factor and back to its own matrix, with Pillow's filters, which average where they shrink."""

    name: str = "resize"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Factor and filter; ``at`` has no meaning for a whole picture."""
        return {"factor": round(float(rng.uniform(0.5, 1.5)), 3), "filter": str(rng.choice(list(FILTERS)))}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: an unknown filter in the record.
        """
        if params["filter"] not in FILTERS:
            raise AttackError(f"unknown filter {params['filter']!r}", hint=f"one of {', '.join(FILTERS)}")
        _, height, width = volume.shape
        factor = float(params["factor"])
        sizes = (max(round(factor * width), 1), max(round(factor * height), 1)), (width, height)
        voxels = np.stack([_there_and_back(plane, sizes, FILTERS[params["filter"]]) for plane in volume.voxels])
        return finish(volume, voxels, self.name, params, benign=True)


def _there_and_back(
    plane: FloatArray, sizes: tuple[tuple[int, int], tuple[int, int]], filter_: Image.Resampling
) -> FloatArray:
    image = Image.fromarray(plane)
    for size in sizes:
        image = image.resize(size, filter_)
    return np.asarray(image, dtype=np.float32)
