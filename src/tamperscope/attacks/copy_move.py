"""Copy-move: a piece of the scan over another place of the same scan."""

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
class CopyMove:
    """Take a cube elsewhere, turn and mirror it, bring it to the level of its new place, blend and regrain it."""

    name: str = "copy-move"
    benign: bool = False
    box_mm: float = 14.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre and source (k, j, i), size in mm, mirror, angle in degrees, order, window, level and grain."""
        centre = cubes.choose_place(volume, rng, at)
        return {
            "centre": list(centre),
            "source": list(cubes.similar_place(volume, centre, rng)),
            "size_mm": round(float(rng.uniform(14.0, 40.0)), 2),
            "mirror": bool(rng.integers(2)),
            "degrees": round(float(rng.choice([0.0, rng.uniform(-90.0, 90.0)])), 1),
            "order": int(rng.choice([1, 3, 5])),
            "window": str(rng.choice(["gauss", "dome", "tukey", "ellipsoid"])),
            "match_level": bool(rng.integers(2)),
            **cubes.sample_grain(volume, rng),
            "grain_gain": round(float(rng.choice([0.0, rng.uniform(0.1, 0.6)])), 3),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        size = cubes.extent(volume, params["size_mm"])
        where = cubes.around(volume, tuple(params["centre"]), size)
        original = volume.voxels[where]
        piece = volume.voxels[cubes.around(volume, tuple(params["source"]), size)]
        piece = piece[:, :, ::-1] if params["mirror"] else piece
        if params["degrees"]:
            piece = ndimage.rotate(
                piece, params["degrees"], axes=(1, 2), reshape=False, order=params["order"], mode="reflect"
            )
        if params["match_level"]:
            piece = piece + np.float32(np.median(original) - np.median(piece))
        voxels = cubes.blended(volume, where, piece, params)
        return finish(volume, voxels, self.name, params, benign=self.benign)
