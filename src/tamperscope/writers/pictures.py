"""A picture as PNG or TIFF again, grey, with the bits of its source; a forgery says what it is in a text field.

JPEG comes out as PNG: written as JPEG again, every pixel would change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tamperscope.errors import UnsupportedError
from tamperscope.records import Series, Volume, voxel_digest

from .mark import Mark, check, prefix
from .written import Scale, Written, covered

DTYPES = {"1": "u1", "L": "u1", "LA": "u1", "La": "u1", "I": "i4", "F": "f4"}
"""By Pillow's mode; 16-bit grey has several, which all begin with "I;16"."""
IMAGE_DESCRIPTION = 270
"""TIFF 6.0, tag 270."""


def write(series: Series, original: Volume, volume: Volume, folder: Path, name: str, mark: Mark | None) -> Written:
    """Write ``NAME.png``, or ``NAME.tif`` with all pages where the source is TIFF, into ``folder``.

    Args:
        series: what was read.
        original: its voxels (D, H, W) as `decode` gives them.
        volume: the voxels to write, on the same grid or a part of it.
        folder: made if it is missing.
        name: stem of the file, without the prefix that says whether it is forged.
        mark: the mark of a forgery; None for a pristine twin.

    Raises:
        UsageError: there is no mark for what differs from the source.
        UnsupportedError: colour, or another grid.
    """
    check(mark, original, volume)
    source, mode = series.instances[0].source, str(series.header.get("mode"))
    if volume.voxels.ndim != 3:
        raise UnsupportedError(f"{source}: a picture in colour cannot be written", hint="convert it to grey first")
    stored, voxels, saturated = _scale(mode).stored(volume.voxels, original.voxels[covered(original, volume)], source)
    pages = [Image.fromarray(page.astype(bool) if mode == "1" else page) for page in stored]
    tiff = series.header.get("container") == "TIFF"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix(mark)}{name}{'.tif' if tiff else '.png'}"
    if tiff:
        pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:], tiffinfo=_tiff_text(mark))
    else:
        pages[0].save(path, "PNG", pnginfo=png_text(mark))
    return Written((path,), replace(volume, voxels=voxels, digest=voxel_digest(voxels)), saturated, {})


def _scale(mode: str) -> Scale:
    dtype = np.dtype(DTYPES.get(mode, "u2"))
    if mode == "1":
        return Scale(dtype, 0, 1)
    bounds: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return Scale(dtype, float(bounds.min), float(bounds.max))


def png_text(mark: Mark | None) -> PngInfo:
    """A tEXt chunk with the registered keyword Warning (PNG 3rd ed., 11.3.3.2)."""
    info = PngInfo()
    if mark is not None:
        info.add_text("Warning", mark.text)
    return info


def _tiff_text(mark: Mark | None) -> dict[int, str]:
    return {} if mark is None else {IMAGE_DESCRIPTION: mark.text}
