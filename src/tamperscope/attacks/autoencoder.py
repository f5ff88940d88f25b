"""Autoencoder reconstruction: a region or the whole picture through a bottleneck and one kind of up-sampling.

What comes out shows the same anatomy pixel by pixel, so a forgery and its original are an aligned pair that differ in
nothing but the generator's traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from tamperscope.attacks import cubes, made_with, scale
from tamperscope.attacks.attack import finish
from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

UPSAMPLINGS = ("nearest", "bilinear", "transposed", "shuffle")
"""Kinds of up-sampling: nearest or bilinear and a convolution, a transposed convolution, a convolution and pixel
shuffle (Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, compares them)."""
WINDOW_HU = (-1000.0, 1000.0)
"""CT values that the network sees as -1 to 1; what lies beyond is kept and added again."""
STRIDE = 4
"""Pixels a side that one place of the bottleneck stands for."""
TILE = 256
MARGIN = 32
"""Pixels round a tile that the network sees and the picture does not take: more than its field of view reaches."""
PACKAGED = tuple(Network(f"autoencoder-{kind}") for kind in UPSAMPLINGS)

Box: TypeAlias = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """Replace a region, or every pixel, by its reconstruction, slice by slice at native resolution."""

    reach: Literal["region", "whole"]
    networks: tuple[Network, ...] = PACKAGED
    """One for each of `UPSAMPLINGS`, in their order."""
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack with its reach."""
        return f"autoencoder-{self.reach}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Up-sampling and which network; for a region, its centre (k, j, i), size in mm, window and grain."""
        kind = str(rng.choice(UPSAMPLINGS))
        params: dict[str, JSON] = {"upsampling": kind, **made_with.record(self._network(kind))}
        if self.reach == "whole":
            return params
        return params | {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(16.0, 60.0)), 2),
            "window": str(rng.choice(cubes.WINDOWS)),
            **cubes.sample_grain(volume, rng),
            "grain_gain": round(float(rng.choice([0.0, rng.uniform(0.2, 1.0)])), 3),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: a place outside the volume, an unknown up-sampling, or a record made with other weights.
            WeightsError: the network or its Card is missing or damaged.
        """
        network = self._network(params["upsampling"])
        made_with.check(network, params)
        ends = scale.span(volume, WINDOW_HU)
        if self.reach == "whole":
            voxels = reconstruct(network, volume.voxels, ends)
        else:
            where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, float(params["size_mm"])))
            wide, inner = _with_margin(volume, where)
            piece = reconstruct(network, volume.voxels[wide], ends)[inner]
            voxels = cubes.blended(volume, where, piece, params)
        return finish(volume, voxels, self.name, params, benign=self.benign)

    def _network(self, kind: str) -> Network:
        if kind not in UPSAMPLINGS:
            raise AttackError(f"unknown up-sampling {kind!r}", hint=f"one of {', '.join(UPSAMPLINGS)}")
        return self.networks[UPSAMPLINGS.index(kind)]


def reconstruct(network: Network, voxels: FloatArray, ends: scale.Span) -> FloatArray:
    """Voxels (D, H, W) through the network, slice by slice in tiles; ``ends`` (low, high) becomes -1 and 1."""
    seen = np.clip(voxels, *ends)
    answer = np.stack([_plane(network, plane) for plane in scale.squeeze(voxels, ends)])
    return scale.stretch(answer, ends) + (voxels - seen)


def _with_margin(volume: Volume, where: Box) -> tuple[Box, Box]:
    """``where`` with what the network sees round it in the slice plane, and where the former lies in the latter.

    It begins at a multiple of the bottleneck's step, so that a region comes out as it would in the whole picture.
    """
    depth, *plane = where
    wide = [
        slice(max((cut.start - MARGIN) // STRIDE * STRIDE, 0), min(cut.stop + MARGIN, size))
        for cut, size in zip(plane, volume.shape[1:], strict=True)
    ]
    inner = [slice(cut.start - out.start, cut.stop - out.start) for cut, out in zip(plane, wide, strict=True)]
    return (depth, wide[0], wide[1]), (slice(None), inner[0], inner[1])


def _plane(network: Network, plane: FloatArray) -> FloatArray:
    """One slice (H, W) in -1..1. Tiles overlap by more than the network sees, so no seam shows where they meet."""
    height, width = plane.shape
    padded = np.pad(plane, [(MARGIN, MARGIN + -size % STRIDE) for size in plane.shape], mode="edge")
    out = np.empty_like(padded[MARGIN:-MARGIN, MARGIN:-MARGIN])
    for row in range(0, height, TILE):
        for column in range(0, width, TILE):
            tile = padded[row : row + TILE + 2 * MARGIN, column : column + TILE + 2 * MARGIN]
            answer = network.run(picture=tile[None, None])[0, 0, MARGIN:-MARGIN, MARGIN:-MARGIN]
            out[row : row + TILE, column : column + TILE] = answer
    return out[:height, :width]
