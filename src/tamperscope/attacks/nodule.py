"""A procedural nodule on the scan's own grid: the shape that other attacks inject, and an attack by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume

RADIUS_MM = 6.0
"""Of a typical nodule: grain is looked for in a place that holds four times as much."""


@dataclass(frozen=True, slots=True)
class Nodule:
    """A lobulated body with grain, drawn over the lung by maximum or by opacity.

    Without a mode it is dense, or in one of seven all ground glass. "solid" is dense; "part-solid" has a dense core in
    ground glass; "spiculated" is dense with strands that run from it into the lung (the terms of Hansell et al.,
    Fleischner Society: Glossary of Terms for Thoracic Imaging, Radiology 246, 2008).
    """

    mode: Literal["solid", "part-solid", "spiculated"] | None = None
    benign: bool = False
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = 10.0

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"nodule-{self.mode}" if self.mode else "nodule"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), shape (see `sample_shape`), blending and grain; with a mode, what makes its kind."""
        params: dict[str, JSON] = {
            "centre": list(cubes.choose_place(volume, rng, at)),
            **sample_shape(rng),
            "blend": str(rng.choice(["maximum", "opacity"])),
            **cubes.sample_grain(volume, rng),
        }
        if self.mode:
            params |= _sample_kind(self.mode, rng)
            params["grain_at"] = list(cubes.plain_place(volume, cubes.extent(volume, 4.0 * RADIUS_MM), rng))
        return params

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        size = cubes.extent(volume, 4.0 * float(params["radius_mm"]))
        where = cubes.around(volume, tuple(params["centre"]), size)
        original = volume.voxels[where]
        noise = cubes.grain(volume, where, params)
        grown = original
        for opacity, level in _layers(original.shape, volume.spacing_mm, params):
            grown = opacity * (level + noise) + (1.0 - opacity) * grown
        voxels = volume.voxels.copy()
        voxels[where] = np.maximum(grown, original) if params["blend"] == "maximum" else grown
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _sample_kind(kind: str, rng: np.random.Generator) -> dict[str, JSON]:
    """What a kind needs beside `sample_shape`, and its dense level, in HU."""
    drawn: dict[str, JSON] = {"kind": kind, "level_hu": round(float(rng.uniform(-60.0, 130.0)), 1)}
    if kind == "part-solid":
        drawn["glass_hu"] = round(float(rng.uniform(-680.0, -420.0)), 1)
        drawn["core_share"] = round(float(rng.uniform(0.35, 0.7)), 3)
        drawn["radius_mm"] = round(float(rng.uniform(4.0, 10.0)), 2)
    elif kind == "spiculated":
        drawn["lobulation"] = round(float(rng.uniform(0.0, 0.3)), 3)
        drawn["edge_mm"] = round(float(rng.uniform(0.15, 0.5)), 3)
        drawn["spicules"] = int(rng.integers(24, 61))
        drawn["spicule_reach"] = round(float(rng.uniform(0.6, 1.0)), 3)
        drawn["radius_mm"] = round(float(rng.uniform(3.5, 9.0)), 2)
        drawn["spicule_mm"] = round(float(rng.uniform(0.6, 1.2)), 3)
    return drawn


def _layers(
    size: tuple[int, ...], spacing_mm: tuple[float, ...], params: Mapping[str, Any]
) -> list[tuple[FloatArray, float]]:
    """Opacities of ``size`` with their levels in HU, to be painted one over the other."""
    body, level = shape(size, spacing_mm, params), float(params["level_hu"])
    kind = params.get("kind", "solid")
    if kind == "part-solid":
        core = dict(params)
        core["radius_mm"] = float(params["core_share"]) * float(params["radius_mm"])
        core["shape_seed"] = int(params["shape_seed"]) + 1
        return [(body, float(params["glass_hu"])), (shape(size, spacing_mm, core), level)]
    if kind == "spiculated":
        body = np.maximum(body, spicules(size, spacing_mm, params))
    return [(body, level)]


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


def spicules(size: tuple[int, ...], spacing_mm: tuple[float, ...], params: Mapping[str, Any]) -> FloatArray:
    """Opacity 0..1 of ``size`` (k, j, i): straight strands from the middle in random directions, thinning to a point.

    ``spicule_mm`` is their radius where they leave the body, ``spicule_reach`` how far they do so, in its radii.
    """
    rng = np.random.default_rng([int(params["shape_seed"]), 1])
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing_mm, strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    square = k**2 + j**2 + i**2
    pixel, radius = min(spacing_mm), float(params["radius_mm"])
    opacity = np.zeros(size, dtype=np.float32)
    for _ in range(int(params["spicules"])):
        way = rng.standard_normal(3) * [0.0 if n == 1 else 1.0 for n in size]
        way /= max(float(np.linalg.norm(way)), 1e-9)
        outside = radius * float(params["spicule_reach"]) * rng.uniform(0.5, 1.0)
        along = k * way[0] + j * way[1] + i * way[2]
        aside = np.sqrt(np.maximum(square - along**2, 0.0))
        width = float(params["spicule_mm"]) * np.minimum(1.0 - (along - radius) / outside, 1.0)
        # The share of a voxel that the strand fills, on average: thin ends fade, as in a scan.
        strand = np.clip(0.5 + (width - aside) / pixel, 0.0, 1.0) * np.clip(2.0 * width / pixel, 0.0, 1.0)
        opacity = np.maximum(opacity, np.where(along > 0.0, strand, 0.0))
    return np.asarray(opacity, dtype=np.float32)
