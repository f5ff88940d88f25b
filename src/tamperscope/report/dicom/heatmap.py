"""The heat map on the grid of the images, in 256 steps, of the slices that show something.

A stack with a Frame of Reference gives a Parametric Map (PS3.3 A.75), the primitive of IHE AI Results. Projections,
films and other images without one give a fractional segmentation of type PROBABILITY (C.8.20.2), since highdicom 0.28
cannot write a map of them.
"""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import DerivedPixelContrastValues, ImageFlavorValues, ParametricMap, RealWorldValueMapping
from highdicom.seg import Segmentation, SegmentationFractionalTypeValues, SegmentationTypeValues
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tamperscope.records import FloatArray
from tamperscope.report import picture

from . import codes, frames, seg
from .identity import Case

KIND = "heatmap"
LABEL, DESCRIPTION = "TAMPERING_MAP", "Probability of tampering, voxel by voxel"
STEPS = 255
"""Stored value of probability 1."""
MOST_SLICES = 100
"""The strongest of them are kept: of 512 x 512 voxels they take 50 MB, and viewers grow slow on more."""


def render(case: Case) -> Dataset | None:
    """The heat map; None where there is none, or no slice reaches what a picture would paint (`picture.FAINTEST`)."""
    heat = case.result.heatmap
    if heat is None or heat.shape != case.volume.shape:
        return None
    slices = _slices(heat)
    if not slices:
        return None
    pixels = _quantised(heat, slices)
    made = _map(case, slices, pixels) if case.sources.frame_of_reference else _fractional(case, slices, pixels)
    frames.place(made, case, KIND)
    return case.finish(made, KIND)


def _slices(heat: FloatArray) -> list[int]:
    highest = np.array([float(np.nan_to_num(plane).max()) for plane in heat])
    shown = np.flatnonzero(highest >= picture.FAINTEST)
    strongest = shown[np.argsort(-highest[shown], kind="stable")][:MOST_SLICES]
    return sorted(int(k) for k in strongest)


def _quantised(heat: FloatArray, slices: list[int]) -> NDArray[np.uint8]:
    """uint8 (D', H, W), `STEPS` to the whole."""
    planes = np.clip(np.nan_to_num(heat[slices]), 0.0, 1.0)
    return np.asarray(np.rint(planes * STEPS), dtype=np.uint8)


def _map(case: Case, slices: list[int], pixels: NDArray[np.uint8]) -> Dataset:
    mapping = RealWorldValueMapping(
        lut_label="PROBABILITY",
        lut_explanation="Calibrated probability of tampering",
        unit=codes.NO_UNITS,
        value_range=(0, STEPS),
        slope=1.0 / STEPS,
        intercept=0.0,
        quantity_definition=codes.PROBABILITY_OF_TAMPERING,
    )
    return ParametricMap(
        source_images=frames.stand_ins(case.sources, slices),
        # 8 bits would do; the standard asks for 16 (PS3.3 C.8.32.2).
        pixel_array=pixels.astype(np.uint16),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=(STEPS + 1) / 2, window_width=STEPS + 1)],
        content_label=LABEL,
        content_description=DESCRIPTION,
        image_flavor=ImageFlavorValues.VOLUME,
        derived_pixel_contrast=DerivedPixelContrastValues.QUANTITY,
        **case.made(KIND),
    )


def _fractional(case: Case, slices: list[int], pixels: NDArray[np.uint8]) -> Dataset:
    return Segmentation(
        source_images=frames.stand_ins(case.sources, slices),
        pixel_array=pixels.astype(np.float32) / np.float32(STEPS),
        segmentation_type=SegmentationTypeValues.FRACTIONAL,
        fractional_type=SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=STEPS,
        segment_descriptions=[seg.described(case, 1, codes.PROBABILITY_OF_TAMPERING, "probability of tampering")],
        content_label=LABEL,
        content_description=DESCRIPTION,
        **case.made(KIND),
    )
