"""Classical inpainting: close a hole from what surrounds it, then regrain. Removes a finding without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tamperscope.attacks import cubes, fills
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Inpaint:
    """Close an ellipsoid, slice by slice, by one of `fills.FILLS`; then grain.

    Without a mode the fill is drawn, harmonic or median. "patchmatch" copies grain along with the rest, looks for it
    in twice the box, and gets no other.
    """

    mode: Literal["harmonic", "median", "tv", "biharmonic", "patchmatch"] | None = None
    benign: bool = False
    box_mm: float = 10.0

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"inpaint-{self.mode}" if self.mode else "inpaint"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, way of filling and grain."""
        centre = cubes.choose_place(volume, rng, at)
        size = round(float(rng.uniform(16.0, 36.0) if self.mode else rng.uniform(10.0, 30.0)), 2)
        params: dict[str, JSON] = {
            "centre": list(centre),
            "size_mm": size,
            "fill": self.mode or str(rng.choice(["harmonic", "median"])),
            **cubes.sample_grain(volume, rng),
        }
        if self.mode:
            params["grain_at"] = list(cubes.plain_place(volume, cubes.extent(volume, size), rng))
        return params | {"grain": "none"} if self.mode == "patchmatch" else params

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        centre, size = tuple(params["centre"]), cubes.extent(volume, params["size_mm"])
        where = cubes.around(volume, centre, size)
        reach = 2 if params["fill"] == "patchmatch" else 1
        seen = cubes.around(volume, centre, (size[0], reach * size[1], reach * size[2]))
        context = volume.voxels[seen]
        hole = np.zeros(context.shape, dtype=bool)
        box = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(where, seen, strict=True))
        depth, *plane = hole[box].shape
        # Of an ellipsoid two slices thick, both would be its tips, and nothing would be a hole.
        hole[box] = cubes.window("ellipsoid", (depth if depth > 2 else 1, *plane)) > 0.5
        rng = np.random.default_rng([int(params["seed"]), 1])
        filled = np.stack(
            [fills.fill(plane, gap, params["fill"], rng) for plane, gap in zip(context, hole, strict=True)]
        )
        voxels = volume.voxels.copy()
        voxels[where] = np.where(hole[box], filled[box] + cubes.grain(volume, where, params), voxels[where])
        return finish(volume, voxels, self.name, params, benign=self.benign)
