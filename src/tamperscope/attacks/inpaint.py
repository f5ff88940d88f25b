"""Classical inpainting: close a hole from its rim, then regrain. Removes a finding without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, MaskArray, Volume


@dataclass(frozen=True, slots=True)
class Inpaint:
    """Fill an ellipsoid with the solution of Laplace's equation, slice by slice, or with a wide median; then grain.

    The harmonic fill is the membrane of Perez, Gangnet and Blake, Poisson Image Editing, SIGGRAPH 2003, equation 2
    with a guidance field of zero.
    """

    name: str = "inpaint"
    benign: bool = False

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, way of filling and grain."""
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(10.0, 30.0)), 2),
            "fill": str(rng.choice(["harmonic", "median"])),
            **cubes.sample_grain(volume, rng),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original = volume.voxels[where]
        hole = cubes.window("ellipsoid", original.shape) > 0.5
        fill = np.stack([_fill(plane, gap, params["fill"]) for plane, gap in zip(original, hole, strict=True)])
        voxels = volume.voxels.copy()
        voxels[where] = np.where(hole, fill + cubes.grain(volume, where, params), original)
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _fill(plane: FloatArray, hole: MaskArray, how: str) -> FloatArray:
    if not hole.any() or hole.all():
        return plane
    if how == "median":
        rim = ndimage.binary_dilation(hole, iterations=3) & ~hole
        level = np.float32(np.median(plane[rim])) if rim.any() else np.float32(plane.mean())
        return ndimage.gaussian_filter(np.where(hole, level, plane), 1.0).astype(np.float32)
    return _harmonic(plane, hole)


def _harmonic(plane: FloatArray, hole: MaskArray) -> FloatArray:
    """Five-point Laplacian = 0 inside the hole, the rim as boundary; the border of the plane reflects."""
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(int(hole.sum()))
    places = np.argwhere(hole)
    count = len(places)
    entries = [(np.arange(count), np.arange(count), np.full(count, 4.0))]
    known = np.zeros(count)
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        near = np.clip(places + step, 0, np.array(hole.shape) - 1)
        neighbour = number[near[:, 0], near[:, 1]]
        inside = np.flatnonzero(neighbour >= 0)
        # A neighbour mirrored at the border is the pixel itself: entries at one place add up, as they should.
        entries.append((inside, neighbour[inside], np.full(inside.size, -1.0)))
        outside = neighbour < 0
        known[outside] += plane[near[outside, 0], near[outside, 1]]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    matrix = sparse.coo_array((values, (rows, columns)), shape=(count, count))
    filled = plane.copy()
    filled[hole] = spsolve(matrix.tocsr(), known)
    return filled
