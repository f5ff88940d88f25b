"""One slice as an RGB picture: display window, physical aspect, and the heat map over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from tamperscope.records import FloatArray, Region, SeriesResult, Volume

from .blocks import Colour, text

LUNG_WINDOW = (-600.0, 1500.0)
"""Centre and width in Hounsfield units: the usual lung window."""
SHORT, LONG = 512, 1024
"""Longer side of a panel in pixels: smaller pictures are enlarged, larger ones reduced."""
MARK: Colour = (90, 220, 255)
"""Of a box round a place, unless another is asked for."""
FAINTEST = 0.2
"""Probabilities below this are not painted, so that the anatomy stays visible."""

# Anchors of matplotlib's "plasma" (van der Walt & Smith 2015, CC0): even steps in lightness, which readers with any
# colour vision can order.
_PLASMA = np.array(
    [
        (13, 8, 135),
        (84, 2, 163),
        (139, 10, 165),
        (185, 50, 137),
        (219, 92, 104),
        (244, 136, 73),
        (254, 188, 43),
        (240, 249, 33),
    ],
    dtype=np.float32,
)


def colours(values: FloatArray) -> NDArray[np.uint8]:
    """Probabilities (...,) in [0, 1] to RGB (..., 3)."""
    steps = np.linspace(0, 1, len(_PLASMA))
    channels = [np.interp(values, steps, _PLASMA[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def shown_slice(volume: Volume, result: SeriesResult) -> int:
    """The slice with the strongest evidence; the middle one where there is none."""
    depth = volume.shape[0]
    scores = [(s.score, -s.index) for s in result.slices if 0 <= s.index < depth and np.isfinite(s.score)]
    if scores:
        return -max(scores)[1]
    if result.regions:
        return min(max(strongest(result.regions).centre_index[0], 0), depth - 1)
    if result.heatmap is not None:
        return int(np.nan_to_num(result.heatmap).max(axis=(1, 2)).argmax())
    return depth // 2


def strongest(regions: tuple[Region, ...]) -> Region:
    """The region with the highest score; the first of equals."""
    return max(regions, key=lambda region: region.score)


def grey(volume: Volume, k: int) -> Image.Image:
    """Slice ``k`` as an RGB picture (W, H) in a window that fits its modality.

    CT is shown in the lung window, other pictures from the 0.5th to the 99.5th percentile, colour as stored.
    MONOCHROME1 is inverted here and nowhere else.
    """
    plane = _plane(volume, k)
    low, high = _window(volume, plane)
    shades = (np.clip((plane - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    if volume.photometric == "MONOCHROME1":
        shades = 255 - shades
    return Image.fromarray(shades).convert("RGB")


def window(volume: Volume, k: int) -> tuple[float, float]:
    """The values of slice ``k`` that `grey` shows as black and as white."""
    return _window(volume, _plane(volume, k))


def _plane(volume: Volume, k: int) -> NDArray[np.float64]:
    plane = volume.voxels[k].astype(np.float64)
    return np.asarray(np.nan_to_num(plane, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float64)


def _window(volume: Volume, plane: NDArray[np.float64]) -> tuple[float, float]:
    if volume.modality == "CT" and plane.ndim == 2:
        centre, width = LUNG_WINDOW
        return centre - width / 2, centre + width / 2
    if plane.ndim == 3:
        return 0.0, 255.0 if plane.max() <= 255 else 65535.0
    seen = plane[plane != volume.padding] if volume.padding is not None else plane
    low, high = (float(v) for v in np.percentile(seen if seen.size else plane, (0.5, 99.5)))
    return low, max(high, low + 1e-6 * max(abs(low), 1.0))


def physical_size(volume: Volume, rows: int, columns: int) -> tuple[float, float]:
    """Width and height of a part of a slice in units of its smaller pixel side."""
    _, dj, di = volume.spacing_mm
    if not (np.isfinite([dj, di]).all() and min(dj, di) > 0):
        return float(columns), float(rows)
    return columns * di / min(dj, di), rows * dj / min(dj, di)


def fitted(size: tuple[float, float], short: int = SHORT, long: int = LONG) -> tuple[int, int]:
    """Scale a size so that its longer side lies between ``short`` and ``long``; no side vanishes."""
    longer = max(size)
    scale = min(max(longer, short), long) / longer
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Enlarge pixels as squares, since tampering lives in them; reduce with a proper filter."""
    enlarges = size[0] >= picture.width and size[1] >= picture.height
    return picture.resize(size, Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS)


def box(
    image: Image.Image,
    corners: tuple[tuple[int, int, int], tuple[int, int, int]],
    label: str,
    scale: tuple[float, float],
    colour: Colour = MARK,
) -> None:
    """Draw a labelled box round voxels, first and last (k, j, i), into a picture of their slice.

    ``scale`` is pixels a voxel, across and down.
    """
    (_, top, left), (_, bottom, right) = corners
    pad = 6
    x0, y0 = max(left * scale[0] - pad, 0), max(top * scale[1] - pad, 0)
    x1 = min((right + 1) * scale[0] + pad, image.width - 1)
    y1 = min((bottom + 1) * scale[1] + pad, image.height - 1)
    pen = ImageDraw.Draw(image)
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0), width=4)
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    tag = text(label, 18, (0, 0, 0), 60 + 12 * len(label), colour, tight=True)
    at_y = y0 - tag.height if y0 >= tag.height else min(y1, image.height - tag.height)
    image.paste(tag, (int(min(x0, image.width - tag.width)), int(max(at_y, 0))))


def overlaid(picture: Image.Image, heat: FloatArray, threshold: float) -> Image.Image:
    """Lay a heat map (H, W) of probabilities over a picture of any size, outlined from ``threshold`` on."""
    plane = Image.fromarray(np.nan_to_num(heat).astype(np.float32))
    values = np.asarray(plane.resize(picture.size, Image.Resampling.BILINEAR), dtype=np.float32)
    values = np.clip(values, 0, 1)
    alpha = np.where(values < FAINTEST, 0, 0.25 + 0.4 * (values - FAINTEST) / (1 - FAINTEST))[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - alpha) + colours(values) * alpha
    inside = values >= max(threshold, FAINTEST)
    outline = inside & ~ndimage.binary_erosion(inside, border_value=1)
    mixed[outline] = 255
    return Image.fromarray(mixed.round().astype(np.uint8))
