"""Enlarge or shrink what is at a place, by a warp that moves tissue and draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class ResizeFinding:
    """Scale radially about the centre, fully there and not at all on the surface of a ball, in millimetres.

    The voxel at distance u (in radii of the ball) takes the value at u (1 - a (1 - u^2)^2), with a = 1 - 1 / factor.
    The map is one to one for factors from 0.45 up, since its slope 1 - a (1 - u^2) (1 - 5 u^2) stays positive.
    """

    mode: Literal["enlarge", "shrink"]
    benign: bool = False
    box_mm: float = 24.0

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"resize-finding-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), radius of the ball in mm, factor at its centre, spline order, and grain."""
        factor = rng.uniform(1.3, 2.0) if self.mode == "enlarge" else rng.uniform(0.5, 0.75)
        centre = cubes.choose_finding(volume, rng, at)
        radius = round(float(rng.uniform(12.0, 22.0)), 2)
        return {
            "centre": list(centre),
            "radius_mm": radius,
            "factor": round(float(factor), 3),
            "order": int(rng.choice([1, 3, 3])),
            **cubes.sample_grain(volume, rng),
            "grain_gain": round(float(rng.choice([0.0, rng.uniform(0.1, 0.5)])), 3),
            "grain_at": list(cubes.plain_place(volume, cubes.extent(volume, 2.0 * radius), rng)),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        centre, order = tuple(params["centre"]), params["order"]
        where, distance = cubes.ball(volume, centre, float(params["radius_mm"]))
        weight = np.clip(1.0 - distance**2, 0.0, 1.0) ** 2
        pull = (1.0 - 1.0 / float(params["factor"])) * weight
        at = np.indices(distance.shape, dtype=np.float32)
        for axis, (s, c) in enumerate(zip(where, centre, strict=True)):
            at[axis] -= pull * (at[axis] + (s.start - c))
        original = volume.voxels[where]
        warped = ndimage.map_coordinates(original, at, order=order, mode="nearest", output=np.float32)
        warped = np.where(weight > 0.0, warped + weight * cubes.grain(volume, where, params), original)
        voxels = volume.voxels.copy()
        voxels[where] = warped
        return finish(volume, voxels, self.name, params, benign=self.benign)
