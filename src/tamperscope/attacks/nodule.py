"""A procedural nodule on the scan's own grid: the shape that other attacks inject, and an attack by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Nodule:
    """A solid, part-solid or lobulated body with grain, drawn over the lung by maximum or by opacity."""

    name: str = "nodule"
    benign: bool = False

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), shape (see `sample_shape`), blending and grain."""
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            **sample_shape(rng),
            "blend": str(rng.choice(["maximum", "opacity"])),
            **cubes.sample_grain(volume, rng),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        size = cubes.extent(volume, 4.0 * float(params["radius_mm"]))
        where = cubes.around(volume, tuple(params["centre"]), size)
        original = volume.voxels[where]
        opacity = shape(original.shape, volume.spacing_mm, params)
        grown = float(params["level_hu"]) + cubes.grain(volume, where, params)
        blended = opacity * grown + (1.0 - opacity) * original
        voxels = volume.voxels.copy()
        voxels[where] = np.maximum(blended, original) if params["blend"] == "maximum" else blended
        return finish(volume, voxels, self.name, params, benign=self.benign)


def sample_shape(rng: np.random.Generator) -> dict[str, JSON]:
    """Radius in mm, level in HU, lobulation (share of the radius), edge softness in mm, and a seed of its own."""
    return {
        "radius_mm": round(float(rng.uniform(2.5, 9.0)), 2),
        "level_hu": round(
            float(rng.choice([rng.uniform(-60.0, 130.0), rng.uniform(-600.0, -150.0)], p=[0.85, 0.15])), 1
        ),
        "lobulation": round(float(rng.uniform(0.0, 0.45)), 3),
        "edge_mm": round(float(rng.uniform(0.15, 1.2)), 3),
        "stretch": [round(float(x), 3) for x in rng.uniform(0.8, 1.25, 3)],
        "shape_seed": int(rng.integers(2**31)),
    }


def shape(size: tuple[int, ...], spacing_mm: tuple[float, ...], params: Mapping[str, Any]) -> FloatArray:
    """Opacity 0..1 of ``size`` (k, j, i): a ball whose radius varies with a smooth random field."""
    rng = np.random.default_rng(int(params["shape_seed"]))
    axes = [
        (np.arange(n) - (n - 1) / 2) * mm / stretch
        for n, mm, stretch in zip(size, spacing_mm, params["stretch"], strict=True)
    ]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(k**2 + j**2 + i**2)
    radius = float(params["radius_mm"])
    sigma = [0.0 if n == 1 else 0.45 * radius / mm for n, mm in zip(size, spacing_mm, strict=True)]
    field = ndimage.gaussian_filter(rng.standard_normal(size).astype(np.float32), sigma, mode="wrap")
    field /= max(float(np.abs(field).max()), 1e-6)
    surface = radius * (1.0 + float(params["lobulation"]) * field)
    opacity = 1.0 / (1.0 + np.exp(np.clip((distance - surface) / float(params["edge_mm"]), -30, 30)))
    return np.asarray(opacity, dtype=np.float32)
