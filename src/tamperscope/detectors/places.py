"""From coarse maps of the slices to the evidence of a volume: what all detectors with a heat map share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.preprocess import InputSpec, refusals, upsample
from tamperscope.records import Evidence, FloatArray, MaskArray, Volume

PLACE_MM = 32.0
"""Side of what counts as one place: the box that CT-GAN pastes."""
DEPTH_SIGMA_MM = 2.0
"""Forgeries reach through slices, noise does not: the maps are smoothed along the slice axis by this much."""
FLOOR = -30.0
"""Raw value outside the body, and of slices without one: as sure an "authentic" as a map can say."""


def body_of(volume: Volume) -> MaskArray:
    """The body on the coarse grid of ``anatomy.STEP`` pixels: (D, ceil(H / 4), ceil(W / 4))."""
    mask = anatomy.body(volume.voxels)
    return mask[:, :: anatomy.STEP, :: anatomy.STEP]


def through_slices(coarse: FloatArray, volume: Volume) -> FloatArray:
    """Smooth maps (D, h, w) along k by 2 mm; one slice, or slices far apart, stay as they are."""
    sigma = DEPTH_SIGMA_MM / max(volume.spacing_mm[0], 1e-3)
    if volume.shape[0] == 1 or sigma < 0.25:
        return coarse
    smooth: FloatArray = ndimage.gaussian_filter1d(coarse, min(sigma, 4.0), axis=0, mode="nearest")
    return smooth


def detect(name: str, spec: InputSpec, volume: Volume, maps: Callable[[Volume, MaskArray], FloatArray]) -> Evidence:
    """Evidence by the coarse ``maps`` of a volume and its body, or the reasons why ``spec`` does not allow any."""
    reasons = refusals(spec, volume)
    if reasons:
        return Evidence(name, None, reasons=reasons)
    inside = body_of(volume)
    return evidence(name, maps(volume, inside), inside, volume)


def evidence(name: str, coarse: FloatArray, inside: MaskArray, volume: Volume) -> Evidence:
    """Evidence from a coarse map (D, h, w) and the body on that grid: score, slice scores, map on the volume's grid.

    The score is the highest value inside the body, and ``places`` the number of 32 mm squares that the body's slices
    hold together.
    """
    if not inside.any():
        return Evidence(name, None, reasons=("no patient was found in the picture",))
    held = np.where(inside, coarse, FLOOR).astype(np.float32)
    slices = held.reshape(len(held), -1).max(axis=1)
    _, height, width = volume.shape
    heatmap = np.empty(volume.shape, dtype=np.float32)
    for k, plane in enumerate(held):
        heatmap[k] = enlarged(plane, anatomy.STEP, (height, width))
    scores = tuple(float(score) for score in slices)
    return Evidence(name, max(scores), None, heatmap, scores, count_places(inside, volume))


def enlarged(plane: FloatArray, stride: int, shape: tuple[int, int]) -> FloatArray:
    """A coarse map (h, w) on the grid (H, W): bilinear, but peaks keep their value, so that the score has a place."""
    smooth = upsample(plane, stride, shape)
    peaks = plane == ndimage.maximum_filter(plane, 3, mode="nearest")
    height, width = shape
    cells = peaks.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]
    values = plane.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]
    return np.asarray(np.where(cells, values, smooth), dtype=np.float32)


def count_places(inside: MaskArray, volume: Volume) -> float:
    """Squares of 32 mm that the body (on the coarse grid) holds, added up over the slices; at least 1."""
    _, down, across = volume.spacing_mm
    area_mm2 = float(inside.sum()) * anatomy.STEP**2 * down * across
    return max(area_mm2 / PLACE_MM**2, 1.0)


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
