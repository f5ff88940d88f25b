"""The slices to look at with a box round each region, as a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

Colour images have none: theirs would need an ICC profile (A.33.2), and the capture shows them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from highdicom import ModalityLUTTransformation, PresentationLUTTransformation
from highdicom.content import ReferencedImageSequence
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tamperscope.errors import UnsupportedError
from tamperscope.records import Region
from tamperscope.report import picture, words

from . import keys
from .identity import Case

KIND = "presentation"
LABEL, DESCRIPTION = "TAMPERING", "Places that differ from the rest of the series"
LAYER = "TAMPERSCOPE"
MARGIN = 1.0
"""Pixels between a region and the line round it."""


def render(case: Case) -> Dataset | None:
    """The presentation state; None where there is no slice to look at.

    Raises:
        UnsupportedError: a colour image.
    """
    chosen = keys.slices(case.volume, case.result)
    if not chosen:
        return None
    if case.volume.voxels.ndim != 3:
        raise UnsupportedError("colour images have no grayscale presentation", hint="use the capture")
    images = {k: case.sources.slice_stand_in(k) for k in chosen}
    layer = GraphicLayer(LAYER, 1, description="Regions with their probability")
    drawn = [_annotation(case, k, image, layer) for k, image in images.items() if _cut(case, k)]
    modality = _modality(case, chosen)
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        content_label=LABEL,
        content_description=DESCRIPTION,
        graphic_annotations=drawn or None,
        graphic_layers=[layer] if drawn else None,
        modality_lut_transformation=modality,
        voi_lut_transformations=[_window(case, k, image, modality) for k, image in images.items()],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if case.volume.photometric == "MONOCHROME1" else "IDENTITY"
        ),
        **case.made(KIND),
    )
    made.ContentCreatorName = None
    return case.finish(made, KIND)


def _cut(case: Case, k: int) -> list[tuple[int, Region]]:
    """The regions that slice ``k`` cuts, with their numbers."""
    numbered = enumerate(case.result.regions, start=1)
    return [(number, one) for number, one in numbered if one.box_index[0][0] <= k <= one.box_index[1][0]]


def _annotation(case: Case, k: int, image: Dataset, layer: GraphicLayer) -> GraphicAnnotation:
    graphics, texts = [], []
    for number, region in _cut(case, k):
        corners = rectangle(region, case.volume.shape)
        tracking: dict[str, Any] = {
            "tracking_id": f"tamperscope region {number}",
            "tracking_uid": case.region_uid(number),
        }
        graphics.append(GraphicObject("POLYLINE", corners, "PIXEL", **tracking))
        anchor = (float(corners[1, 0]), float(corners[1, 1]))
        said = f"{number}: {words.probability(region.score)}"
        texts.append(TextObject(said, "PIXEL", anchor_point=anchor, anchor_point_visible=False, **tracking))
    return GraphicAnnotation([image], layer, graphic_objects=graphics, text_objects=texts)


def rectangle(region: Region, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Closed outline of a region's box, (5, 2) of (column, row); the first pixel's corner is 0 (PS3.3 C.10.5.1.2)."""
    (_, top, left), (_, bottom, right) = region.box_index
    _, height, width = shape
    x0, y0 = max(left - MARGIN, 0.0), max(top - MARGIN, 0.0)
    x1, y1 = min(right + 1 + MARGIN, float(width)), min(bottom + 1 + MARGIN, float(height))
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])


def _modality(case: Case, chosen: tuple[int, ...]) -> ModalityLUTTransformation | None:
    """Rescale of the slices (PS3.3 C.11.1), if they share one: a presentation state has but one."""
    scales = {(case.sources.planes[k].slope, case.sources.planes[k].intercept) for k in chosen}
    if case.volume.modality != "CT" or len(scales) != 1:
        return None
    slope, intercept = scales.pop()
    return ModalityLUTTransformation(rescale_intercept=intercept, rescale_slope=slope, rescale_type="HU")


def _window(
    case: Case, k: int, image: Dataset, modality: ModalityLUTTransformation | None
) -> SoftcopyVOILUTTransformation:
    """The window of the report's picture; in stored values where there is no rescale (PS3.3 C.11.2)."""
    low, high = picture.window(case.volume, k)
    plane = case.sources.planes[k]
    if case.volume.modality == "CT" and modality is None:
        low, high = sorted(((low - plane.intercept) / plane.slope, (high - plane.intercept) / plane.slope))
    return SoftcopyVOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=max(high - low, 1.0),
        referenced_images=ReferencedImageSequence([image]),
    )
