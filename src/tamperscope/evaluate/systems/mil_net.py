"""A volume as a bag of slices, and each of these as a bag of native patches, pooled by attention: how HexMIL looks.

patches ─ encoder.onnx ─▶ features and weight of each ─ softmax, sum ─▶ slice ─ bags.onnx ─▶ weight and logit of each
slices ─ softmax, sum ─▶ volume ─ bags.onnx ─▶ logit

The networks see each patch and each bag alone, so that any number of them fits in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tamperscope import anatomy, pictures
from tamperscope.detectors.places import FLOOR
from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import native
from tamperscope.evaluate.systems.native import Grid
from tamperscope.evaluate.systems.system import Answer
from tamperscope.records import JSON, FloatArray, MaskArray, Volume

ENCODER, BAGS = "encoder.onnx", "bags.onnx"
PATCHES, FEATURES = "patches", "features"
"""Of the encoder: float32 (N, 1, patch, patch) of 0 to 1, and (N, F + 1), whose last number asks for weight."""
POOLED, JUDGED = "pooled", "judged"
"""Of the bags: float32 (N, F), and (N, 2): what asks for weight, and the logit."""
BATCH = 64
"""Patches that the encoder sees at once."""


@dataclass(frozen=True, slots=True)
class Bags:
    """See `system.System`.

    The score of the volume is the logit of its bag, that of a slice the logit of its own. The heat map is the volume's
    logit plus the logarithm of attention: of the product of the weights of slice and patch, mean of the patches over a
    pixel, relative to the highest. Published is the product itself. Within a volume both have one order, but a product
    has no scale that volumes share, and here what is most attended has the volume's score.
    """

    look: ClassVar[str] = "bags"
    grid: Grid
    window_hu: tuple[float, float]
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Bags:
        """See `system.System`."""
        low, high = settings["window_hu"]
        return cls(Grid(int(settings["patch"]), int(settings["stride"])), (float(low), float(high)), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"patch": self.grid.patch, "stride": self.grid.stride, "window_hu": list(self.window_hu)}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        pooled, maps, judged = [], [], []
        for plane in pictures.planes(volume):
            inside = native.inside(plane, volume.modality)
            bag, attention = self._slice(native.unit(plane, volume.modality, self.window_hu), inside)
            pooled.append(bag)
            maps.append(attention)
            judged.append(inside)
        seen = self._bags(np.stack(pooled))
        weights = softmax(seen[:, 0])
        score = float(self._bags((weights[:, None] * np.stack(pooled)).sum(axis=0, keepdims=True))[0, 1])
        held = np.stack(judged)
        product = weights[:, None, None] * np.stack(maps)
        found = native.answer(_relative(product, held) + score, held, volume, score)
        return Answer(tuple(seen[:, 1].tolist()), found.heatmap, score)

    def _slice(self, plane: FloatArray, inside: MaskArray) -> tuple[FloatArray, FloatArray]:
        """A slice of 0 to 1 as one bag (F), and the attention on it, as large as ``inside``."""
        corners, found = self.grid.corners(inside, plane.shape), []
        for first in range(0, len(corners), BATCH):
            patches = self.grid.cut(plane, corners[first : first + BATCH])
            found.append(self._run(ENCODER, PATCHES, patches, FEATURES))
        features = np.concatenate(found)
        weights = softmax(features[:, -1])
        total = np.zeros([self.grid.size(length) // anatomy.STEP for length in plane.shape], dtype=np.float32)
        count = np.zeros_like(total)
        for corner, weight in zip(corners, weights, strict=True):
            total[self.grid.cells(corner)] += weight
            count[self.grid.cells(corner)] += 1.0
        attention = np.asarray(total / np.maximum(count, 1.0), dtype=np.float32)[: inside.shape[0], : inside.shape[1]]
        return (weights[:, None] * features[:, :-1]).sum(axis=0), attention

    def _bags(self, pooled: FloatArray) -> FloatArray:
        return self._run(BAGS, POOLED, pooled, JUDGED)

    def _run(self, name: str, given: str, values: FloatArray, answer: str) -> FloatArray:
        found = self.networks.run(name, {given: values}, answer)
        if found.ndim != 2 or len(found) != len(values) or found.shape[1] < 2:
            raise WeightsError(f"{name} gave {found.shape} for {len(values)} {given}", hint="train the model again")
        return found


def softmax(values: FloatArray) -> FloatArray:
    """Weights (N) that sum to 1."""
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum(), dtype=np.float32)


def _relative(product: FloatArray, judged: MaskArray) -> FloatArray:
    """The logarithm of attention (D, h, w), 0 where it is highest of all that is judged."""
    highest = product[judged].max()
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(product / max(highest, np.finfo(np.float32).tiny)), FLOOR, 0.0))
