"""Augmentation of pictures: what the classifiers of the literature learn to overlook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from tamperscope.errors import UsageError
from tamperscope.records import FloatArray

THUMBNAIL = 128
"""Pixels a side of a picture on the contact sheet."""
HEADING = 14
"""Pixels of the line that names the columns."""
GAP = 4


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a picture of 0 to 1 may be changed; 0 and False leave it alone. The result stays within 0 to 1."""

    rotation_degrees: float = 0.0
    """Turned by up to so much either way, the rim repeated."""
    flips: bool = False
    """Mirrored left to right in half of the cases, and top to bottom in half."""
    brightness: float = 0.0
    """Up to so much is added or taken away."""
    contrast: float = 0.0
    """Distances from the mean are multiplied by 1 minus to 1 plus this."""
    noise: float = 0.0
    """Gaussian noise of a standard deviation of up to so much."""

    def __post_init__(self) -> None:
        for name, most in (("rotation_degrees", 180.0), ("brightness", 1.0), ("contrast", 1.0), ("noise", 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise UsageError(f"{name} = {value:g}", hint=f"it lies between 0 and {most:g}")

    def apply(self, picture: FloatArray, rng: np.random.Generator) -> FloatArray:
        """A changed copy of a picture, float32 (1, S, S) of 0 to 1."""
        made = picture[0]
        if self.rotation_degrees:
            angle = rng.uniform(-self.rotation_degrees, self.rotation_degrees)
            made = ndimage.rotate(made, angle, reshape=False, order=1, mode="nearest")
        if self.flips:
            across, down = rng.integers(0, 2, 2) * 2 - 1
            made = made[::down, ::across]
        if self.contrast:
            mean = made.mean(dtype=np.float64)
            made = mean + (made - mean) * rng.uniform(1.0 - self.contrast, 1.0 + self.contrast)
        if self.brightness:
            made = made + rng.uniform(-self.brightness, self.brightness)
        if self.noise:
            made = made + rng.uniform(0.0, self.noise) * rng.standard_normal(made.shape, dtype=np.float32)
        return np.asarray(np.clip(made, 0.0, 1.0)[None], dtype=np.float32)

    def each(self) -> dict[str, Augmentation]:
        """Every change of it that does something, alone, by name."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: Augmentation(**{name: value}) for name, value in values.items() if value}


def contact_sheet(pictures: Sequence[FloatArray], augmentation: Augmentation, rng: np.random.Generator) -> Image.Image:
    """A row for each picture (1, S, S): as it is, under each change alone, and three times under all together."""
    columns = {"original": Augmentation(), **augmentation.each()}
    columns |= {f"all together {number}": augmentation for number in (1, 2, 3)}
    cell = THUMBNAIL + GAP
    sheet = Image.new("L", (len(columns) * cell + GAP, len(pictures) * cell + GAP + HEADING))
    draw = ImageDraw.Draw(sheet)
    for column, (name, change) in enumerate(columns.items()):
        draw.text((GAP + column * cell, 1), name.replace("_", " "), fill=255)
        for row, picture in enumerate(pictures):
            shown = np.rint(change.apply(picture, rng)[0] * 255.0).astype(np.uint8)
            thumbnail = Image.fromarray(shown).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
            sheet.paste(thumbnail, (GAP + column * cell, HEADING + GAP + row * cell))
    return sheet
