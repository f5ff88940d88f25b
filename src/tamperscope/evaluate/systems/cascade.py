"""Two stages: windows of a slice make a map, and the texture of the map decides on the slice.

Zhang et al., GAN-based medical image small region forgery detection via a two-stage cascade framework, PLOS ONE 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tamperscope import pictures
from tamperscope.detectors import places
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.pictures import logits, one_each
from tamperscope.evaluate.systems.regions import held, inside, tiles
from tamperscope.evaluate.systems.system import Answer
from tamperscope.records import JSON, FloatArray, Volume

WINDOWS, SLICES = "windows.onnx", "slices.onnx"
INPUT, OUTPUT = "texture", "decision"
"""Names in the second file: float32 (N, F) as `texture` gives them, and float32 (N, 1)."""
SIDE = 32
"""Pixels a side of a window, as published."""
BATCH = 256
"""Windows that the network sees at once."""
LEAST = places.FLOOR + 1.0
"""No logit inside the body is lower: the floor marks what lies outside."""
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to a neighbour; the four others are these the other way round."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """See `system.System`. The map holds the windows' logits, the slice's score is the decision on its texture."""

    look: ClassVar[str] = "cascade"
    window_hu: tuple[float, float]
    stride: int
    levels: int
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Cascade:
        """See `system.System`."""
        low, high = settings["window_hu"]
        stride, levels = int(settings["stride"]), int(settings["levels"])
        if not (1 <= stride <= SIDE and 2 <= levels <= 256):
            raise ValueError(f"stride = {stride}, levels = {levels}")
        return cls((float(low), float(high)), stride, levels, networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"window_hu": list(self.window_hu), "stride": self.stride, "levels": self.levels}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        found, heatmap = list[float](), np.empty(volume.shape, dtype=np.float32)
        for k, plane in enumerate(pictures.planes(volume)):
            coarse = self.coarse(plane, volume.modality)
            seen = texture(coarse, self.levels)[None]
            found += one_each(self.networks.run(SLICES, {INPUT: seen}, OUTPUT), 1, SLICES)
            heatmap[k] = places.enlarged(coarse, (self.stride, self.stride), plane.shape)
        return Answer(tuple(found), heatmap)

    def coarse(self, plane: FloatArray, modality: str) -> FloatArray:
        """The logit of the window round each cell (h, w) of a slice (H, W), `places.FLOOR` where there is no body."""
        cells = held(inside(plane, modality), self.stride)
        seen = tiles(pictures.native(plane, modality, self.window_hu), SIDE, self.stride)[cells]
        found = np.full(cells.shape, places.FLOOR, dtype=np.float32)
        found[cells] = np.maximum(logits(self.networks, seen, BATCH, WINDOWS), LEAST)
        return found


def texture(coarse: FloatArray, levels: int) -> FloatArray:
    """Co-occurrence matrices of a map of logits (h, w), as float32 (4 * levels * (levels + 1) / 2).

    The map as probabilities, in ``levels`` equal steps; a symmetric matrix for each of four directions, of which the
    upper half says all, with the sum 1 (Haralick et al., IEEE SMC 3(6), 1973). Pairs of which one lies outside the body
    do not count: they would say what share of the slice that is.
    """
    body = coarse > places.FLOOR
    shares = 1.0 / (1.0 + np.exp(-coarse.astype(np.float64)))
    steps = np.minimum(shares * levels, levels - 1).astype(np.intp)
    upper = np.triu_indices(levels)
    return np.concatenate([_matrix(steps, body, way, levels)[upper] for way in DIRECTIONS]).astype(np.float32)


def _matrix(steps: np.ndarray, body: np.ndarray, way: tuple[int, int], levels: int) -> np.ndarray:
    """How often steps (i, j) are neighbours, symmetric, sum 1; all 0 without any pair."""
    down, right = way
    height, width = steps.shape
    one = (slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
    other = (slice(down, height), slice(max(right, 0), width - max(-right, 0)))
    both = body[one] & body[other]
    pairs = (steps[one] * levels + steps[other])[both]
    counts = np.bincount(pairs, minlength=levels**2).reshape(levels, levels).astype(float)
    found: np.ndarray = (counts + counts.T) / max(2.0 * counts.sum(), 1.0)
    return found
