"""What one step back in time changes: a diffusion model of authentic crops, as Back-in-Time Diffusion looks.

Published is a test of a place that somebody points at: the mean of the squared residual over its crop (Grabovski et
al., arXiv 2407.15169). How a volume is looked at where nobody points is ours: every place of 32 mm in the lungs (in the
patient where there are none) has the mean of the squared residual over its square, and counts by how far the logarithm
of that lies above the median of its slice, which takes the dose of the scan away. The highest place is the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from tamperscope import anatomy, pictures
from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import native
from tamperscope.evaluate.systems.native import Grid
from tamperscope.evaluate.systems.system import Answer
from tamperscope.inputs.ct import PLACE_MM
from tamperscope.records import JSON, FloatArray, MaskArray, Volume

NETWORK = "model.onnx"
INPUT, OUTPUT = "crops", "residuals"
"""Names in the ONNX file: float32 (N, 1, side, side) of 0 to 1, and as much in multiples of the noise of the step."""
MARGIN = 8
"""Pixels at the rim of a crop that the next one says anew: there the network sees one side only."""
BATCH = 8
"""Crops that the network sees at once."""
LEAST = 1e-12
"""Of a squared residual, so that it has a logarithm."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """See `system.System`."""

    look: ClassVar[str] = "residuals"
    side: int
    window_hu: tuple[float, float]
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Residuals:
        """See `system.System`."""
        low, high = settings["window_hu"]
        return cls(int(settings["side"]), (float(low), float(high)), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"side": self.side, "window_hu": list(self.window_hu)}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        box = [max(1, round(PLACE_MM / spacing)) for spacing in volume.spacing_mm[1:]]
        maps, judged = [], []
        for plane in pictures.planes(volume):
            lungs = native.lungs(plane, volume.modality)
            squared = self.squared(native.unit(plane, volume.modality, self.window_hu), _near(lungs, box))
            means = ndimage.uniform_filter(squared, box, mode="nearest")[:: anatomy.STEP, :: anatomy.STEP]
            levels = np.log(np.maximum(means, LEAST))  # sums that slide may end just below 0
            maps.append((levels - np.median(levels[lungs])).astype(np.float32))
            judged.append(lungs)
        return native.answer(np.stack(maps), np.stack(judged), volume)

    def squared(self, plane: FloatArray, judged: MaskArray) -> FloatArray:
        """The squared residual (H, W) of a slice of 0 to 1, at least where ``judged`` is true on the coarse grid.

        Raises:
            WeightsError: the network gives something else than the crops it was given.
        """
        grid = Grid(self.side, self.side - 2 * MARGIN)
        corners = grid.corners(judged, plane.shape, anatomy.STEP**2 / self.side**2)
        found = np.zeros([grid.size(length) for length in plane.shape], dtype=np.float32)
        for first in range(0, len(corners), BATCH):
            some = corners[first : first + BATCH]
            seen = grid.cut(plane, some)
            left = self.networks.run(NETWORK, {INPUT: seen}, OUTPUT)
            if left.shape != seen.shape:
                raise WeightsError(
                    f"{NETWORK} gave {left.shape} for crops {seen.shape}",
                    hint="it gives as many: train the model again",
                )
            for (row, column), one in zip(some, left[:, 0], strict=True):
                down, across = (MARGIN if at else 0 for at in (row, column))
                found[row + down : row + self.side, column + across : column + self.side] = one[down:, across:] ** 2
        return found[: plane.shape[0], : plane.shape[1]]


def _near(judged: MaskArray, box: list[int]) -> MaskArray:
    """What lies in the square of any place that is true, on the coarse grid."""
    size = [side // anatomy.STEP + 2 for side in box]
    return np.asarray(ndimage.maximum_filter(judged, size, mode="constant", cval=0))
