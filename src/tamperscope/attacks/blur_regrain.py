"""Blur a place and give it noise again: the cheapest way to make a finding less visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class BlurRegrain:
    """Gaussian or median smoothing inside a window, then grain."""

    name: str = "blur-regrain"
    benign: bool = False
    box_mm: float = 12.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, filter and its width in voxels, window and grain."""
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(12.0, 40.0)), 2),
            "filter": str(rng.choice(["gaussian", "median"])),
            "sigma": round(float(rng.uniform(0.5, 3.0)), 3),
            "window": str(rng.choice(cubes.WINDOWS)),
            **cubes.sample_grain(volume, rng),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original, sigma = volume.voxels[where], float(params["sigma"])
        if params["filter"] == "median":
            smooth = ndimage.median_filter(original, (1, 3, 3) if sigma < 1.5 else (1, 5, 5))
        else:
            smooth = ndimage.gaussian_filter(original, (sigma / 3.0, sigma, sigma))
        voxels = cubes.blended(volume, where, smooth, params)
        return finish(volume, voxels, self.name, params, benign=self.benign)
