"""Resample a cube and paste it back where it was: the trace of every tool that edits on a grid of its own."""

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
class ResamplePaste:
    """Zoom a cube to another spacing (or shift it by part of a voxel) and back, blend it in, regrain it.

    Nothing is drawn or taken away: only the interpolation, the window and the noise tell the place.
    """

    name: str = "resample-paste"
    benign: bool = False
    box_mm: float = 16.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, zoom, shift in voxels, spline order, window and grain."""
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(16.0, 44.0)), 2),
            "zoom": round(float(rng.uniform(0.45, 1.3)), 3),
            "shift": [round(float(x), 3) for x in rng.uniform(-0.5, 0.5, 2)],
            "order": int(rng.choice([1, 2, 3, 3, 5])),
            "window": str(rng.choice(cubes.WINDOWS)),
            **cubes.sample_grain(volume, rng),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original, order = volume.voxels[where], params["order"]
        small = tuple(
            max(round(n * float(params["zoom"])), min(n, 4)) if axis or n > 4 else n
            for axis, n in enumerate(original.shape)
        )
        shifted = ndimage.shift(original, (0.0, *params["shift"]), order=order, mode="nearest")
        traced = cubes.resize(cubes.resize(shifted, small, order), original.shape, order)
        voxels = cubes.blended(volume, where, traced, params)
        return finish(volume, voxels, self.name, params, benign=self.benign)
