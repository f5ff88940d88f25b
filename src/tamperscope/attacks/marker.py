"""Edit the markers of a radiograph: take a laterality letter or other text away, put some there, or exchange it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes, fills, lettering
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume

WORDS = ("R", "L", "R", "L", "RT", "LT", "AP", "PA", "LAT", "ERECT", "SUPINE", "PORTABLE")
Box: TypeAlias = tuple[int, int, int, int]
"""Row and column of the centre, height and width, in pixels."""
LEAST, HIGHEST, WIDEST = 0.02, 0.15, 0.35
"""What a marker measures, its smaller side and its larger, in the shorter side of the picture."""
BORDER = 0.2
"""Share of the picture, from each edge, in which markers are looked for: what is bright further inside is bone."""
STROKE = 1 / 16
"""No stroke of a marker is wider, in the shorter side of the picture; bones and hearts are."""
CONTRAST, BRIGHTEST = 0.3, 0.25
"""Shares of the picture's range: strokes of lead or burnt-in text rise by the one, and lie in the uppermost other."""


@dataclass(frozen=True, slots=True)
class Marker:
    """On one slice, erase the box of a marker (its rim decides what comes there), draw another text, or both.

    Sizes are in pixels, since radiographs need not state theirs. Erasing is a harmonic fill with white grain. Text is
    as bright as the picture gets (dark in MONOCHROME1), as lead letters and burnt-in ones are; it may be tilted, and
    mirrored as on a film seen from behind.
    """

    mode: Literal["erase", "draw", "replace"]
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"marker-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), the box to erase and the text to draw, in pixels, its level in stored units, and grain.

        Without ``at``, the place is that of a marker if one is found, else near a corner.
        """
        place = cubes.choose_place(volume, rng, at or _corner(volume, rng))
        found = None if self.mode == "draw" else _found(volume, place if at else None)
        short = min(volume.shape[1:])
        row, column, height, width = found or (*place[1:], max(round(0.07 * short), 3), max(round(0.1 * short), 3))
        params: dict[str, JSON] = {
            "centre": [place[0], row, column],
            "erase_px": [height, width] if self.mode != "draw" else None,
            "grain_gain": round(float(rng.uniform(0.7, 1.1)), 3),
            "seed": int(rng.integers(2**31)),
        }
        return params if self.mode == "erase" else params | _sample_text(volume, rng)

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        k, j, i = params["centre"]
        cubes.around(volume, (k, j, i), (1, 1, 1))
        voxels = volume.voxels.copy()
        if params["erase_px"]:
            height, width = params["erase_px"]
            _erase(volume, voxels, (k, j, i), (height, width), params)
        if params.get("words"):
            drawn = lettering.text(params["words"], int(params["height_px"]))
            drawn = drawn[:, ::-1] if params["mirror"] else drawn
            drawn = ndimage.rotate(np.pad(drawn, 2), float(params["degrees"]), order=1)
            cover = lettering.placed(volume.shape[1:], drawn, (j, i))
            cover = np.clip(ndimage.gaussian_filter(cover, float(params["soft_px"])), 0.0, 1.0)
            voxels[k] = cover * np.float32(params["level"]) + (1.0 - cover) * voxels[k]
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _sample_text(volume: Volume, rng: np.random.Generator) -> dict[str, JSON]:
    low, high = (float(v) for v in np.percentile(volume.voxels, (0.1, 99.9)))
    if volume.photometric == "MONOCHROME1":
        low, high = high, low
    return {
        "words": str(rng.choice(WORDS)),
        "height_px": max(round(float(rng.uniform(0.03, 0.06)) * min(volume.shape[1:])), 4),
        "degrees": round(float(rng.choice([0.0, rng.normal(0.0, 8.0)])), 1),
        "mirror": bool(rng.random() < 0.1),
        "soft_px": round(float(rng.uniform(0.0, 0.8)), 2),
        "level": round(high - (high - low) * float(rng.uniform(0.0, 0.08)), 1),
    }


def _corner(volume: Volume, rng: np.random.Generator) -> cubes.Triple:
    """A place in a random slice, about a tenth of the sides away from one of its corners."""
    depth, *sides = volume.shape
    row, column = (int(n * (rng.uniform(0.06, 0.14) if rng.random() < 0.5 else rng.uniform(0.86, 0.94))) for n in sides)
    return int(rng.integers(depth)), row, column


def _found(volume: Volume, near: cubes.Triple | None) -> Box | None:
    """The marker at ``near``, or the largest one along the border of a picture of one slice."""
    if volume.shape[0] > 1 and near is None:
        return None
    plane = volume.voxels[near[0] if near else 0]
    boxes = _boxes(-plane if volume.photometric == "MONOCHROME1" else plane)
    if near is None:
        found = {box: ink for box, ink in boxes.items() if _along_the_border(box, plane.shape)}
    else:
        found = {box: ink for box, ink in boxes.items() if _holds(box, near[1:])}
    return max(found, key=lambda box: found[box]) if found else None


def _boxes(plane: FloatArray) -> dict[Box, int]:
    """What might be markers in a slice (H, W), bright where dense, with the number of pixels that each covers."""
    short, span = min(plane.shape), max(float(np.ptp(plane)), 1.0)
    strokes = ndimage.white_tophat(plane, max(round(STROKE * short), 3))
    ink = (strokes > CONTRAST * span) & (plane > plane.max() - BRIGHTEST * span)
    reach = max(1, short // 64)  # joins the letters of a word
    labels, _ = ndimage.label(ndimage.binary_dilation(ink, iterations=reach))
    boxes = {}
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        sides = rows.stop - rows.start, columns.stop - columns.start
        if LEAST * short < min(sides) - 2 * reach < HIGHEST * short and max(sides) < WIDEST * short:
            box = (rows.start + sides[0] // 2, columns.start + sides[1] // 2, *sides)
            boxes[box] = int((labels[rows, columns] == number).sum())
    return boxes


def _along_the_border(box: Box, shape: tuple[int, ...]) -> bool:
    return any(min(c, n - c) < BORDER * n for c, n in zip(box[:2], shape, strict=True))


def _holds(box: Box, place: tuple[int, ...]) -> bool:
    return all(abs(p - c) <= side // 2 for p, c, side in zip(place, box[:2], box[2:], strict=True))


def _erase(
    volume: Volume, voxels: FloatArray, centre: cubes.Triple, sides: tuple[int, int], params: Mapping[str, Any]
) -> None:
    """Fill the box of ``sides`` (rows, columns) in ``voxels``, in place, with grain as strong as that round it."""
    hole = np.zeros(volume.shape, dtype=bool)
    hole[cubes.around(volume, centre, (1, *sides))] = True
    where = cubes.around(volume, centre, (1, 3 * sides[0], 3 * sides[1]))
    rng = np.random.default_rng(int(params["seed"]))
    filled = fills.fill(volume.voxels[where][0], hole[where][0], "harmonic", rng)
    grain = cubes.grain(volume, where, {**params, "grain": "white"})
    voxels[where] = np.where(hole[where], filled + grain, volume.voxels[where])
