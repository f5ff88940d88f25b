"""Poisson editing: the gradients of a piece from elsewhere in the scan, cloned without a seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import cubes, fills
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume

TRIED = 200
"""Places of which the best is taken, half of them where attacks choose theirs, half anywhere."""


@dataclass(frozen=True, slots=True)
class Poisson:
    """Clone an ellipsoid slice by slice: inside it the gradients of the source, on its rim the values of the place.

    Perez, Gangnet and Blake, Poisson Image Editing, SIGGRAPH 2003, with imported or mixed gradients (`fills.guided`).
    The source's noise comes along with its gradients, so the place gets no other.
    """

    name: str = "poisson"
    benign: bool = False
    box_mm: float = 14.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre and source (k, j, i), size in mm, mirror, and whether the gradients are mixed."""
        centre, size = cubes.choose_place(volume, rng, at), round(float(rng.uniform(14.0, 40.0)), 2)
        mirror = bool(rng.integers(2))
        return {
            "centre": list(centre),
            "source": list(_source(volume, centre, size, mirror, rng)),
            "size_mm": size,
            "mirror": mirror,
            "mixed": bool(rng.random() < 0.3),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        size = cubes.extent(volume, params["size_mm"])
        where = cubes.around(volume, tuple(params["centre"]), size)
        source = _piece(volume, tuple(params["source"]), size, bool(params["mirror"]))
        hole = cubes.window("ellipsoid", source.shape) > 0.5
        mixed = bool(params["mixed"])
        voxels = volume.voxels.copy()
        voxels[where] = np.stack(
            [
                fills.guided(plane, gap, guide, mixed=mixed)
                for plane, gap, guide in zip(voxels[where], hole, source, strict=True)
            ]
        )
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _piece(volume: Volume, centre: cubes.Triple, size: cubes.Triple, mirror: bool) -> FloatArray:
    piece = volume.voxels[cubes.around(volume, centre, size)]
    return piece[:, :, ::-1] if mirror else piece


def _source(
    volume: Volume, centre: cubes.Triple, size_mm: float, mirror: bool, rng: np.random.Generator
) -> cubes.Triple:
    """Of `TRIED` voxels the one whose surroundings fit best: the least mean difference on the rim of the hole.

    Places that overlap with ``centre`` itself count only where the volume is too small for others.
    """
    size = cubes.extent(volume, size_mm)
    rim = np.abs(cubes.window("ellipsoid", size) - 0.5) < 0.49
    wanted = volume.voxels[cubes.around(volume, centre, size)]

    def misfit(place: cubes.Triple) -> float:
        apart = np.abs(_piece(volume, place, size, mirror) - wanted)[rim]
        return float(apart.mean()) if apart.size else 0.0

    half = TRIED // 2
    places = cubes.choose_places(volume, rng, half) + cubes.anywhere(volume, rng, half)
    apart = [p for p in places if any(abs(a - b) >= n for a, b, n in zip(p, centre, size, strict=True))]
    return min(apart or places, key=misfit)
