"""The classical detector: is the noise here like the noise of the same tissue elsewhere in the same slice?

Pasted, interpolated or smoothed places keep another noise than the scan that they sit in. Two measures of it, after
Mahdian and Saic, Using noise inconsistencies for blind image forensics, Image and Vision Computing 27, 2009 (local
strength of the high-pass residual by the median absolute deviation) and Gallagher, Detection of linear and cubic
interpolation in JPEG compressed images, CRV 2005 (interpolation takes the highest frequencies away: the local power
of the finest band against the next one). Noise differs between lung and soft tissue, so a place is compared with its
own kind of tissue only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tamperscope.anatomy import STEP
from tamperscope.detectors import places
from tamperscope.errors import WeightsError
from tamperscope.inputs import CtInput
from tamperscope.inputs.ct import through_slices
from tamperscope.preprocess import high_pass
from tamperscope.records import Evidence, FloatArray, MaskArray, Volume
from tamperscope.weights import Card

TISSUES_HU = (-970.0, -700.0, -300.0, 150.0, 600.0)
"""Borders between the kinds of tissue that are compared among themselves: lung, its rim and fat, soft tissue, bone."""
FEWEST_CELLS = 60
"""Cells of one tissue in a slice below which there is nothing to compare with."""
NEIGHBOURHOOD = 5
"""Cells of 4 pixels over which the measures are averaged: 20 pixels, about the size of a nodule."""


@dataclass(frozen=True, slots=True)
class NoiseDetector:
    """Robust distance of each place's noise strength and spectrum from that of its tissue in the slice."""

    card: Card

    @property
    def name(self) -> str:
        """The Card's name."""
        return self.card.name

    def detect(self, volume: Volume) -> Evidence:
        """See `detector.Detector`. Raw values are robust standard deviations."""
        return places.detect(self.name, self.card.input, volume, self.maps)

    def maps(self, volume: Volume, inside: MaskArray) -> FloatArray:
        """Distances (D, ceil(H / 4), ceil(W / 4)), smoothed through the slices; 0 where nothing can be compared.

        ``inside`` is the body on the same grid, as the Card's contract finds it.

        Raises:
            WeightsError: the Card is not of CT.
        """
        if not isinstance(self.card.input, CtInput):
            raise WeightsError(f"the Card {self.name} is not of CT", hint="tissues are told by Hounsfield units alone")
        clip_hu = self.card.input.clip_hu
        maps = np.zeros(inside.shape, dtype=np.float32)
        for k in np.flatnonzero(inside.any(axis=(1, 2))):
            maps[k] = _distance(np.clip(volume.voxels[k], *clip_hu), inside[k])
        return through_slices(maps, volume)


def _distance(plane: FloatArray, inside: MaskArray) -> FloatArray:
    """Slice (H, W) in HU to the robust distance (h, w) of each cell's noise from its tissue's."""
    missing = [-size % STEP for size in plane.shape]
    plane = np.pad(plane, ((0, missing[0]), (0, missing[1])), mode="edge")
    fine = high_pass(plane)
    next_band = high_pass(plane - fine)
    strength = np.log(_cells(np.abs(fine), np.median) + 0.1)
    slope = strength - np.log(_cells(np.abs(next_band), np.median) + 0.1)
    tissue = np.digitize(_cells(plane, np.mean), TISSUES_HU)
    core = ndimage.binary_erosion(inside, iterations=2)
    squares = [_standardised(_local_mean(measure, tissue), tissue, core) ** 2 for measure in (strength, slope)]
    return np.asarray(np.sqrt(sum(squares)), dtype=np.float32)


def _cells(plane: FloatArray, summary: object) -> FloatArray:
    """One value for each cell of 4 x 4 pixels."""
    height, width = (size // STEP for size in plane.shape)
    blocks = plane.reshape(height, STEP, width, STEP).swapaxes(1, 2).reshape(height, width, STEP * STEP)
    return np.asarray(summary(blocks, axis=2), dtype=np.float32)  # type: ignore[operator]


def _local_mean(measure: FloatArray, tissue: np.ndarray) -> FloatArray:
    """Mean over the neighbouring cells of the same tissue, so that an edge does not mix two kinds of noise."""
    mean = np.zeros_like(measure)
    for kind in np.unique(tissue):
        same = (tissue == kind).astype(np.float32)
        total = ndimage.uniform_filter(measure * same, NEIGHBOURHOOD, mode="constant")
        count = ndimage.uniform_filter(same, NEIGHBOURHOOD, mode="constant")
        mean = np.where(same > 0, total / np.maximum(count, 1e-6), mean)
    return mean.astype(np.float32)


def _standardised(measure: FloatArray, tissue: np.ndarray, core: MaskArray) -> FloatArray:
    """(measure - median) / (1.4826 MAD) within each tissue of the slice; 0 where too little of it is there."""
    score = np.zeros_like(measure)
    for kind in range(1, len(TISSUES_HU)):
        cells = core & (tissue == kind)
        if int(cells.sum()) < FEWEST_CELLS:
            continue
        values = measure[cells]
        middle = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-3)
        score[cells] = (values - middle) / spread
    return score
