"""Benign: the whole picture on another grid, as reformatting and teaching files do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class ResampleWhole:
    """Enlarge or shift every slice by spline interpolation; matrix and centre stay, the border is repeated."""

    name: str = "resample-whole"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Zoom, shift in pixels and spline order; ``at`` has no meaning for a whole picture."""
        return {
            "zoom": round(float(rng.uniform(0.85, 1.3)), 3),
            "shift": [round(float(x), 3) for x in rng.uniform(-0.5, 0.5, 2)],
            "order": int(rng.choice([1, 3])),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        step = 1.0 / float(params["zoom"])
        _, height, width = volume.shape
        offset = [
            (1.0 - step) * (size - 1) / 2 + shift for size, shift in zip((height, width), params["shift"], strict=True)
        ]
        matrix, start = np.array([1.0, step, step]), np.array([0.0, *offset])
        moved = ndimage.affine_transform(
            volume.voxels, matrix, start, order=params["order"], mode="nearest", output=np.float32
        )
        return finish(volume, moved, self.name, params, benign=True)
