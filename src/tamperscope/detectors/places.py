"""From coarse maps of the slices to the evidence of a volume: what all detectors with a heat map share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.inputs import Input
from tamperscope.inputs.ct import PLACE_MM
from tamperscope.preprocess import upsample
from tamperscope.records import Evidence, FloatArray, MaskArray, Volume

FLOOR = -30.0
"""Raw value outside the body, and of slices without one: as sure an "authentic" as a map can say."""


def detect(name: str, spec: Input, volume: Volume, maps: Callable[[Volume, MaskArray], FloatArray]) -> Evidence:
    """Evidence by the coarse ``maps`` of a volume and its body, or the reasons why ``spec`` does not allow any."""
    reasons = spec.refusals(volume)
    if reasons:
        return Evidence(name, None, reasons=reasons)
    inside = spec.inside(volume)
    _, *shape = volume.shape
    strides = spec.strides((shape[0], shape[1]))
    found = evidence(name, maps(volume, inside), inside, volume, spec.places(inside, volume), strides)
    return replace(found, cautions=spec.cautions(volume))


def evidence(
    name: str,
    coarse: FloatArray,
    inside: MaskArray,
    volume: Volume,
    count: float,
    strides: tuple[float, float] = (anatomy.STEP, anatomy.STEP),
) -> Evidence:
    """Evidence from a coarse map (D, h, w) and the body on that grid: score, slice scores, map on the volume's grid.

    The score is the highest value inside the body, which holds ``count`` places; ``strides`` are the pixels of the
    volume that one value of the map stands for, down and across.
    """
    if not inside.any():
        return Evidence(name, None, reasons=("no patient was found in the picture",))
    held = np.where(inside, coarse, FLOOR).astype(np.float32)
    slices = held.reshape(len(held), -1).max(axis=1)
    _, height, width = volume.shape
    heatmap = np.empty(volume.shape, dtype=np.float32)
    for k, plane in enumerate(held):
        heatmap[k] = enlarged(plane, strides, (height, width))
    scores = tuple(float(score) for score in slices)
    return Evidence(name, max(scores), None, heatmap, scores, count)


def enlarged(plane: FloatArray, strides: tuple[float, float], shape: tuple[int, int]) -> FloatArray:
    """A coarse map (h, w) on the grid (H, W): bilinear, but peaks keep their value, so that the score has a place."""
    smooth = upsample(plane, strides, shape)
    peaks = plane == ndimage.maximum_filter(plane, 3, mode="nearest")
    rows, columns = (
        np.minimum((np.arange(size) / stride).astype(int), cells - 1)
        for size, stride, cells in zip(shape, strides, plane.shape, strict=True)
    )
    fine_peaks, fine_plane = (values.take(rows, axis=0).take(columns, axis=1) for values in (peaks, plane))
    return np.asarray(np.where(fine_peaks, fine_plane, smooth), dtype=np.float32)


def place_scores(coarse: FloatArray, inside: MaskArray, volume: Volume) -> FloatArray:
    """The highest value of each 32 mm square that is mostly body, over all slices: what `calibrate.fit_tail` wants."""
    sides = [max(1, round(PLACE_MM / spacing / anatomy.STEP)) for spacing in volume.spacing_mm[1:]]
    scores = []
    for top in range(0, coarse.shape[1], sides[0]):
        for left in range(0, coarse.shape[2], sides[1]):
            square = (slice(None), slice(top, top + sides[0]), slice(left, left + sides[1]))
            body = inside[square].reshape(len(inside), -1)
            values = np.where(body, coarse[square].reshape(len(inside), -1), -np.inf).max(axis=1)
            scores.append(values[body.mean(axis=1) > 0.5])
    return np.concatenate(scores).astype(np.float32)
