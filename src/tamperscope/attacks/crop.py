"""Benign: a smaller field of view, cut from the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import JSON, Forgery, Volume

LARGEST_CUT = 0.2
"""Share of the rows, columns or slices that goes at each end, at most."""
ROOM_MM = 24.0
"""What stays round the place that must be kept."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Cut rows, columns and slices off; the affine moves, so every voxel keeps its place in the patient.

    Voxels keep their values. The grid changes: the mask has the shape of what is left.
    """

    name: str = "crop"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """First voxel (k, j, i) that is kept, and first that is not; ``at`` stays inside with its surroundings."""
        start, stop = [], []
        for axis, (size, mm) in enumerate(zip(volume.shape, volume.spacing_mm, strict=True)):
            first, last = (int(rng.uniform(0.0, LARGEST_CUT) * size) for _ in range(2))
            if at is not None:
                room = round(ROOM_MM / mm)
                first = max(min(first, at[axis] - room), 0)
                last = max(min(last, size - 1 - at[axis] - room), 0)
            start.append(first)
            stop.append(size - last)
        return {"start": [*start], "stop": [*stop]}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: the box does not lie inside the volume.
        """
        (k, j, i), (end, bottom, right) = params["start"], params["stop"]
        if not all(0 <= a < b <= n for a, b, n in zip((k, j, i), (end, bottom, right), volume.shape, strict=True)):
            raise AttackError(
                f"the box {params['start']} to {params['stop']} does not lie inside the volume {volume.shape}",
                hint="use the volume of the record, or draw a box for this one",
            )
        slab = volume.slab(k, end)
        affine = slab.affine.copy()
        affine[:3, 3] = volume.position_mm((k, j, i))
        voxels = np.ascontiguousarray(slab.voxels[:, j:bottom, i:right])
        left = replace(slab, voxels=voxels, affine=affine, digest=volume.digest)
        return finish(left, voxels, self.name, params, benign=True)
