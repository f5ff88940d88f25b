"""Edit the density of a place: what is there gets brighter or darker, with more or less contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Intensity:
    """Gain about the median of a place and an offset, inside a soft window. Every structure and all noise stay."""

    name: str = "intensity"
    benign: bool = False
    box_mm: float = 8.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, gain, offset in the volume's own unit, and window.

        The offset is 30 to 250 HU up or down in CT, and 3 to 25 % of the range that the picture uses elsewhere.
        """
        unit = 1000.0 if volume.modality == "CT" else float(np.subtract(*np.percentile(volume.voxels, (99.0, 1.0))))
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(8.0, 36.0)), 2),
            "gain": round(float(rng.uniform(0.6, 1.5)), 3),
            "offset": round(float(rng.choice([-1.0, 1.0]) * rng.uniform(0.03, 0.25) * unit), 2),
            "window": str(rng.choice(["gauss", "tukey", "ellipsoid"])),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original = volume.voxels[where]
        weight = cubes.window(params["window"], original.shape)
        level = np.float32(np.median(original))
        edited = level + np.float32(params["gain"]) * (original - level) + np.float32(params["offset"])
        voxels = volume.voxels.copy()
        voxels[where] = original + weight * (edited - original)
        return finish(volume, voxels, self.name, params, benign=self.benign)
