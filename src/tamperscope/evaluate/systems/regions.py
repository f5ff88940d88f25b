"""Regions of a slice in its own pixels, each with a score; the highest is that of the slice, and all make a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tamperscope import anatomy, pictures
from tamperscope.detectors import places
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.pictures import logits
from tamperscope.evaluate.systems.system import Answer
from tamperscope.pictures import Grey
from tamperscope.records import JSON, FloatArray, MaskArray, Volume

BATCH = 128
"""Regions that the network sees at once."""


@dataclass(frozen=True, slots=True)
class Regions:
    """See `system.System`. A slice is divided into cells of half a region; round each that holds body one is seen."""

    look: ClassVar[str] = "regions"
    side: int
    """Pixels a side of a region, a multiple of 4."""
    window_hu: tuple[float, float]
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Regions:
        """See `system.System`."""
        low, high = settings["window_hu"]
        side = int(settings["side"])
        if side < 4 or side % 4:
            raise ValueError(f"side = {side}")
        return cls(side, (float(low), float(high)), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return {"side": self.side, "window_hu": list(self.window_hu)}

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        found, heatmap = list[float](), np.empty(volume.shape, dtype=np.float32)
        for k, plane in enumerate(pictures.planes(volume)):
            coarse = self.coarse(plane, volume.modality)
            found.append(float(coarse.max()))
            heatmap[k] = places.enlarged(coarse, (self.side // 2, self.side // 2), plane.shape)
        return Answer(tuple(found), heatmap)

    def coarse(self, plane: FloatArray, modality: str) -> FloatArray:
        """The score of each cell (h, w) of a slice (H, W), `places.FLOOR` where there is no body."""
        stride = self.side // 2
        cells = held(inside(plane, modality), stride)
        seen = tiles(pictures.native(plane, modality, self.window_hu), self.side, stride)[cells]
        found = np.full(cells.shape, places.FLOOR, dtype=np.float32)
        found[cells] = logits(self.networks, seen, BATCH)
        return found


def inside(plane: FloatArray, modality: str) -> MaskArray:
    """Where in a slice (H, W) the patient is; everywhere if none is found."""
    found = (anatomy.body if modality == "CT" else anatomy.tissue)(plane[None])[0]
    return found if found.any() else np.ones(plane.shape, dtype=bool)


def held(mask: MaskArray, stride: int) -> MaskArray:
    """Which cells (h, w) of ``stride`` pixels a side hold something of a mask (H, W)."""
    height, width = (-(-length // stride) for length in mask.shape)
    whole = np.zeros((height * stride, width * stride), dtype=bool)
    whole[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(whole.reshape(height, stride, width, stride).any(axis=(1, 3)))


def tiles(shown: Grey, side: int, stride: int) -> Grey:
    """The region round each cell of ``stride`` pixels, (h, w, side, side); beyond the rim its pixels go on."""
    rim = (side - stride) // 2
    whole = np.pad(shown, [(rim, side - stride - rim + -length % stride) for length in shown.shape], mode="edge")
    return sliding_window_view(whole, (side, side))[::stride, ::stride]


def around(shown: Grey, row: int, column: int, side: int) -> Grey:
    """The region (side, side) of a slice whose middle is a pixel; beyond the rim its pixels go on."""
    whole = np.pad(shown, side // 2, mode="edge")
    return whole[row : row + side, column : column + side]
