"""What the attacks on knee radiographs share: which pictures they take, their grey levels, and 224 pixels made to fit.

The networks see and give squares of 224 pixels in -1..1, -1 black and 1 white, bone bright.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from tamperscope.errors import AttackError
from tamperscope.records import FloatArray, Volume

SIDE = 224
MODALITIES = ("CR", "DX", "RG", "OT")
"""Radiographs; OT is what a picture is read as that states nothing."""
LEAST_SIDE = 48
"""Pixels below which no joint can be told."""
LEG = ("KNEE", "LEG", "EXTREM", "LOW EXM", "FEMUR", "TIBIA", "JOINT")
"""Words of a stated body part (PS3.16 annex L, and what is written in its place) in which a knee may be seen."""
INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Of Pillow, which widens the filter where a picture becomes smaller."""
DARK, BRIGHT = -0.84, 0.89
"""Means of the 1st and 99th percentiles of the pictures that the networks were trained on."""


def check(volume: Volume, name: str) -> None:
    """Refuse what the attack ``name`` cannot take for a knee radiograph.

    Raises:
        AttackError: colour, another modality or body part, a stack, less than 48 pixels a side, or a single value.
    """
    if volume.voxels.ndim != 3:
        raise AttackError(f"{name} cannot forge a colour picture {volume.voxels.shape}", hint="save it as grey")
    if volume.modality not in MODALITIES:
        raise AttackError(
            f"{name} is made for radiographs ({', '.join(MODALITIES)}), this is {volume.modality}",
            hint="give a radiograph of a knee, or choose an attack for this modality",
        )
    part = str(volume.header.get("body_part") or "")
    if part and not any(word in part.upper() for word in LEG):
        raise AttackError(f"{name} is made for knees, the file states {part}", hint="give a radiograph of a knee")
    depth, height, width = volume.shape
    if depth != 1:
        raise AttackError(f"{name} takes one picture, this is a stack of {depth}", hint="give one picture at a time")
    if min(height, width) < LEAST_SIDE:
        raise AttackError(
            f"{name} needs {LEAST_SIDE} pixels a side, the picture has {height} x {width}",
            hint="give the picture at its full size",
        )
    if volume.voxels.min() == volume.voxels.max():
        raise AttackError(f"{name} finds only the value {volume.voxels.max():g}", hint="give a picture of something")


def levels(volume: Volume) -> tuple[float, float]:
    """The stored values that the networks know as -1 (black) and 1 (white).

    Of eight bits these are 0 and 255, as in training; of any other depth those that give the 1st and 99th percentile
    the place that they had in training. MONOCHROME1 stores black as high values (PS3.3 C.7.6.3.1.2).
    """
    if volume.bits_stored == 8:
        low, high = 0.0, 255.0
    else:
        dark, bright = (float(x) for x in np.percentile(volume.voxels, (1.0, 99.0)))
        if dark == bright:
            dark, bright = float(volume.voxels.min()), float(volume.voxels.max())
        step = (bright - dark) / (BRIGHT - DARK)
        low, high = dark - step * (DARK + 1.0), bright + step * (1.0 - BRIGHT)
    return (high, low) if volume.photometric == "MONOCHROME1" else (low, high)


def resized(picture: FloatArray, shape: tuple[int, int], interpolation: str) -> FloatArray:
    """(h, w) to ``shape`` by one of `INTERPOLATIONS`; a picture that fits is left as it is.

    Raises:
        AttackError: an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise AttackError(
            f"unknown interpolation {interpolation!r}", hint=f"one of {', '.join(sorted(INTERPOLATIONS))}"
        )
    if picture.shape == shape:
        return picture
    grey = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    return np.asarray(grey.resize((shape[1], shape[0]), INTERPOLATIONS[interpolation]), dtype=np.float32)


def fitted(picture: FloatArray, volume: Volume, interpolation: str, *, mirror: bool) -> FloatArray:
    """A generated picture (224, 224) in -1..1 as voxels (1, H, W) of ``volume``, in its own range of values.

    It is enlarged or reduced until it covers the longer side, and what then sticks out of the shorter one is cut off
    on both sides alike.
    """
    _, height, width = volume.shape
    side = max(height, width)
    turned = picture[:, ::-1] if mirror else picture
    grown = resized(turned, (side, side), interpolation)
    top, left = (side - height) // 2, (side - width) // 2
    black, white = levels(volume)
    values = black + (white - black) * 0.5 * (grown[top : top + height, left : left + width] + 1.0)
    return np.asarray(np.clip(values, volume.voxels.min(), volume.voxels.max())[None], dtype=np.float32)
