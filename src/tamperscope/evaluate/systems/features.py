"""Every slice as 24 numbers of its texture, and the logit of each.

They are taken from the 8-bit picture in the slice's own pixels: made smaller, it would lose the very textures that the
gradient and the upper half of the spectrum describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tamperscope import pictures
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.pictures import one_each
from tamperscope.evaluate.systems.system import Answer
from tamperscope.evaluate.texture_features import texture_features
from tamperscope.records import JSON, FloatArray, Volume

NETWORK = "model.onnx"
INPUT, OUTPUT = "features", "logits"
"""Names in the ONNX file: float32 (N, 24), in the order of `texture_features.NAMES`, and float32 (N, 1)."""


@dataclass(frozen=True, slots=True)
class Features:
    """See `system.System`."""

    look: ClassVar[str] = "features"
    window_hu: tuple[float, float]
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Features:
        """See `system.System`."""
        low, high = settings["window_hu"]
        return cls((float(low), float(high)), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"window_hu": list(self.window_hu)}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        return Answer(self.logits(described(volume, self.window_hu)))

    def logits(self, features: FloatArray) -> tuple[float, ...]:
        """One for each row (D, 24).

        Raises:
            WeightsError: the network gives something else.
        """
        return tuple(one_each(self.networks.run(NETWORK, {INPUT: features}, OUTPUT), len(features)))


def described(volume: Volume, window_hu: tuple[float, float]) -> FloatArray:
    """The features of each slice, float32 (D, 24)."""
    planes = (pictures.native(plane, volume.modality, window_hu) for plane in pictures.planes(volume))
    return np.stack([texture_features(plane.astype(np.float32)) for plane in planes])
