"""Before, after and their difference as one PNG: the slice that changed most, whole and round the place."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage

from tamperscope.records import FloatArray, MaskArray, Volume
from tamperscope.report import words
from tamperscope.report.blocks import BACKGROUND, FAINT, FRAME, INK, beside, captioned, font, stack, text
from tamperscope.report.files import save
from tamperscope.report.picture import LUNG_WINDOW, fitted, physical_size, resized

from .mark import Mark

SUFFIX = ".compare.png"
MARGIN, GAP = 28, 18
PANEL = 420
"""Longer side of a panel in pixels."""
LEAST_WIDTH = 200
"""Of a panel with its caption."""
BOX = (90, 220, 255)
INSET_MM, INSET_VOXELS = 60.0, 48
"""Least side of what the lower row shows."""
LARGE = 0.25
"""Share of the slice from which on the box is where it changed most: a lossy step after a local one spreads it."""
WHOLE = 0.6
"""Share from which on a change is one of the whole picture: no box, no place."""
STRONG, SMOOTH_PIXELS = 0.1, 3.0
"""What counts as changed most: this share of the largest difference, after smoothing."""
LEAST_DIFFERENCE = 1e-6

# Anchors of a diverging scale from blue over the dark background to orange: the sign stays readable with any colour
# vision, and no difference is no light.
_DIVERGING = np.array([(120, 190, 255), (40, 96, 190), (17, 20, 26), (196, 92, 30), (255, 206, 120)], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of one slice: rows and columns from the first to the one after the last."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def write(path: Path, before: Volume, after: Volume, mask: MaskArray, mark: Mark) -> None:
    """Write the picture that `draw` makes; its tEXt says what it is.

    Raises:
        UsageError: the file cannot be written.
    """
    info = PngInfo()
    info.add_text("Software", "tamperscope")  # by which a scan knows its own results
    info.add_text("Warning", mark.text)
    stream = io.BytesIO()
    title = f"{'Benign change' if mark.role == 'benign' else 'Forgery'}: {mark.attack.replace('+', ', then ')}"
    draw(before, after, mask, title).save(stream, format="PNG", pnginfo=info)
    save(path, stream.getvalue())


def draw(before: Volume, after: Volume, mask: MaskArray, title: str) -> Image.Image:
    """An RGB picture: before, after and difference of one slice, and below them the place enlarged.

    Args:
        before: the pristine twin, voxels (D, H, W).
        after: the forgery, on the same grid.
        mask: (D, H, W), what changed; where it is empty, or nearly the whole slice, there is no place to enlarge.
        title: what was done.
    """
    k = shown_slice(before, after)
    planes = before.voxels[k], after.voxels[k]
    place = changed_place(mask[k], planes[1] - planes[0])
    rows = [_row(before, planes, _all(planes[0]), place, ("Before", "After", "After minus before"))]
    if place is not None:
        near = _surroundings(before, place)
        rows.append(_row(before, planes, near, place, ("Before, the place", "After, the place", "Difference")))
    page = stack([_header(before, mask, k, title, rows[0].width), *rows, _footer(rows[0].width)], GAP)
    canvas = Image.new("RGB", (page.width + 2 * MARGIN, page.height + 2 * MARGIN), BACKGROUND)
    canvas.paste(page, (MARGIN, MARGIN))
    return canvas


def shown_slice(before: Volume, after: Volume) -> int:
    """The slice with the largest sum of differences; the middle one where there are none."""
    sums = [float(np.abs(a - b).sum()) for a, b in zip(after.voxels, before.voxels, strict=True)]
    return int(np.argmax(sums)) if max(sums) > 0 else len(sums) // 2


def changed_place(mask: MaskArray, difference: FloatArray) -> Place | None:
    """The box round what changed in one slice (H, W), or round what changed most where that is much of it.

    None for nothing, or for nearly the whole slice.
    """
    if not mask.any():
        return None
    place = _box(mask)
    if _area(place) >= LARGE * mask.size:
        strength = ndimage.gaussian_filter(np.abs(difference), SMOOTH_PIXELS)
        labels, _ = ndimage.label(strength > STRONG * strength.max())
        place = _box(labels == labels.flat[int(np.argmax(strength))])
    return place if _area(place) < WHOLE * mask.size else None


def _box(mask: MaskArray) -> Place:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Place((int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1))


def _area(place: Place) -> int:
    return (place.rows[1] - place.rows[0]) * (place.columns[1] - place.columns[0])


# --- what it says ---


def _header(before: Volume, mask: MaskArray, k: int, title: str, width: int) -> Image.Image:
    depth, height, columns = before.shape
    facts = [before.modality or "unknown modality"]
    facts += [f"slice {k + 1} of {depth}"] if depth > 1 else []
    facts.append(f"{columns} x {height} pixels")
    if before.geometry != "none":
        facts.append(f"{before.spacing_mm[2]:.3g} mm a pixel")
    touched = int(mask.any(axis=(1, 2)).sum())
    where = f" in {touched} slices" if touched > 1 else ""
    changed = f"{int(mask.sum())} voxels changed{where}" if touched else "no voxel is labelled as tampered"
    return stack(
        [
            text(title, 28, INK, width),
            text(" · ".join([*facts, changed]), 17, FAINT, width),
        ],
        6,
    )


def _footer(width: int) -> Image.Image:
    return text(f"tamperscope · Synthetic data, not a record of a patient · {words.DISCLAIMER}", 15, FAINT, width)


# --- panels ---


def _all(plane: FloatArray) -> Place:
    return Place((0, plane.shape[0]), (0, plane.shape[1]))


def _row(
    volume: Volume, planes: tuple[FloatArray, FloatArray], part: Place, place: Place | None, captions: Sequence[str]
) -> Image.Image:
    """Before, after and difference of one part of the slice, and the scale of the difference."""
    crop = np.s_[part.rows[0] : part.rows[1], part.columns[0] : part.columns[1]]
    size = fitted(physical_size(volume, *planes[0][crop].shape), PANEL, PANEL)
    low, high = _window(volume, planes[0])
    difference = planes[1][crop] - planes[0][crop]
    reach = _reach(planes[1] - planes[0])
    pictures = [_grey(plane[crop], low, high, inverted=volume.photometric == "MONOCHROME1") for plane in planes]
    pictures.append(Image.fromarray(_coloured(difference / reach)))
    blocks = [
        captioned(caption, _finished(picture, volume, part, place, size), LEAST_WIDTH)
        for caption, picture in zip(captions, pictures, strict=True)
    ]
    unit = "HU" if volume.modality == "CT" else "values"
    return beside([*blocks, captioned(" ", _colour_bar(min(max(size[1], 140), 300), reach, unit), 0)], GAP)


def _window(volume: Volume, plane: FloatArray) -> tuple[float, float]:
    """The lung window for CT, else what the slice held before: both panels are shown alike."""
    if volume.modality == "CT":
        centre, width = LUNG_WINDOW
        return centre - width / 2, centre + width / 2
    seen = plane[plane != volume.padding] if volume.padding is not None else plane
    low, high = (float(v) for v in np.percentile(seen if seen.size else plane, (0.5, 99.5)))
    return low, max(high, low + LEAST_DIFFERENCE * max(abs(low), 1.0))


def _grey(plane: FloatArray, low: float, high: float, *, inverted: bool) -> Image.Image:
    shades = (np.clip((plane - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(255 - shades if inverted else shades).convert("RGB")


def _reach(difference: FloatArray) -> float:
    """Where the scale of differences ends: nearly the largest one, so that a single voxel does not darken the rest."""
    sizes = np.abs(difference[difference != 0])
    return max(float(np.percentile(sizes, 99.5)), LEAST_DIFFERENCE) if sizes.size else 1.0


def _coloured(share: FloatArray) -> NDArray[np.uint8]:
    """Differences (...,) in -1 .. 1 to RGB (..., 3)."""
    steps = np.linspace(-1, 1, len(_DIVERGING))
    channels = [np.interp(share, steps, _DIVERGING[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _finished(
    image: Image.Image, volume: Volume, part: Place, place: Place | None, size: tuple[int, int]
) -> Image.Image:
    """At its size on the page, with a box round the place and a scale bar."""
    image = resized(image, size)
    pen = ImageDraw.Draw(image)
    scale = (size[0] / (part.columns[1] - part.columns[0]), size[1] / (part.rows[1] - part.rows[0]))
    if place is not None:
        left, right = ((column - part.columns[0]) * scale[0] for column in place.columns)
        top, bottom = ((row - part.rows[0]) * scale[1] for row in place.rows)
        pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), outline=(0, 0, 0), width=3)
        pen.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=BOX, width=1)
    if volume.geometry != "none":
        _scale_bar(pen, image, scale[0] / volume.spacing_mm[2])
    pen.rectangle((0, 0, image.width - 1, image.height - 1), outline=FRAME)
    return image


def _scale_bar(pen: ImageDraw.ImageDraw, image: Image.Image, per_mm: float) -> None:
    fitting = [mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm * per_mm <= 0.3 * image.width]
    if not fitting:
        return
    bar, x, y = fitting[-1], 14, image.height - 16
    pen.rectangle((x - 2, y - 2, x + round(bar * per_mm) + 2, y + 5), fill=(0, 0, 0))
    pen.rectangle((x, y, x + round(bar * per_mm), y + 3), fill=(255, 255, 255))
    pen.text((x, y - 22), f"{bar} mm", font=font(16), fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))


def _surroundings(volume: Volume, place: Place) -> Place:
    """A square on the patient that holds the place with some room, inside the slice."""
    _, height, width = volume.shape
    _, dj, di = volume.spacing_mm
    tall, wide = place.rows[1] - place.rows[0], place.columns[1] - place.columns[0]
    least = INSET_MM if volume.geometry != "none" else INSET_VOXELS * min(dj, di)
    side = max(least, 1.5 * tall * dj, 1.5 * wide * di)
    return Place(_around(sum(place.rows) // 2, side / dj, height), _around(sum(place.columns) // 2, side / di, width))


def _around(centre: int, side: float, length: int) -> tuple[int, int]:
    """A range of about ``side`` voxels round ``centre`` that stays inside ``length``."""
    voxels = min(math.ceil(side), length)
    start = min(max(centre - voxels // 2, 0), length - voxels)
    return start, start + voxels


def _colour_bar(height: int, reach: float, unit: str) -> Image.Image:
    pad = 10
    image = Image.new("RGB", (110, height), BACKGROUND)
    column = _coloured(np.linspace(1, -1, height - 2 * pad, dtype=np.float32))
    image.paste(Image.fromarray(np.repeat(column[:, None], 18, axis=1)), (0, pad))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, pad, 17, height - pad - 1), outline=FRAME)
    for share in (1.0, 0.5, 0.0, -0.5, -1.0):
        y = pad + round((1 - share) / 2 * (height - 2 * pad - 1))
        pen.line((18, y, 22, y), fill=FAINT)
        label = (f"{share * reach:+.0f}" if reach >= 100.0 else f"{share * reach:+.3g}") if share else f"0 {unit}"
        pen.text((27, y), label, font=font(14), fill=FAINT, anchor="lm")
    return image
