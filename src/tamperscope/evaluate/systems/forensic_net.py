"""Whole slices of native size to a map of logits each: how the general forensic networks look.

The score of a slice is the highest value of its map inside the patient, as the detectors of this package have it. The
network's verdict is not asked: it was learned on crops that a forgery fills, and judges by means over the picture,
which in a whole slice hold a hundred times as much that is authentic. The map does not know how large the picture is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tamperscope import anatomy, pictures
from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import native
from tamperscope.evaluate.systems.system import Answer
from tamperscope.records import JSON, FloatArray, Volume

NETWORK = "model.onnx"
INPUT, OUTPUT = "pictures", "maps"
"""Names in the ONNX file: float32 (1, 1, H, W) of 0 to 1, and float32 (1, 1, H / 4, W / 4)."""
GRAIN = 16
"""Rows and columns that the network takes come in multiples of this, `LEAST` at least."""
LEAST = 32


@dataclass(frozen=True, slots=True)
class ForensicMaps:
    """See `system.System`."""

    look: ClassVar[str] = "forensic-maps"
    window_hu: tuple[float, float]
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> ForensicMaps:
        """See `system.System`."""
        low, high = settings["window_hu"]
        return cls((float(low), float(high)), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"window_hu": list(self.window_hu)}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        planes = pictures.planes(volume)
        looked = [(self.map(plane, volume.modality), native.inside(plane, volume.modality)) for plane in planes]
        maps, judged = (np.stack(each) for each in zip(*looked, strict=True))
        return native.answer(maps, judged, volume)

    def map(self, plane: FloatArray, modality: str) -> FloatArray:
        """Logits (ceil(H / 4), ceil(W / 4)) of a slice (H, W).

        Raises:
            WeightsError: the network gives a map of another size.
        """
        down, across = (max(LEAST, -(-size // GRAIN) * GRAIN) for size in plane.shape)
        seen = native.padded(native.unit(plane, modality, self.window_hu), down, across)
        found = self.networks.run(NETWORK, {INPUT: seen[None, None]}, OUTPUT)
        if found.shape != (1, 1, down // anatomy.STEP, across // anatomy.STEP):
            raise WeightsError(
                f"{NETWORK} gave {found.shape} for a slice of {down} x {across}",
                hint=f"it gives a logit for every {anatomy.STEP} x {anatomy.STEP} pixels: train the model again",
            )
        height, width = (-(-size // anatomy.STEP) for size in plane.shape)
        return np.asarray(found[0, 0, :height, :width])
