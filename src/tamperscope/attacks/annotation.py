"""Benign: text, an arrow or a frame burnt into the picture, as scanners, readers and screenshots leave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import lettering
from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

KINDS = ("text", "arrow", "frame")
WORDS = ("W 400 L 40", "W 1500 L -600", "R", "L", "5 cm", "kV 120", "mA 250", "Se 3", "SUPINE", "+C", "SCREENSHOT")
"""What scanners write into pictures, but for names and dates, which are never drawn."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Text in a corner of all slices, or a reader's arrow or frame on up to five of them.

    The mask stays empty although only a part of the picture changes: it says what it is, and hides nothing.
    """

    name: str = "annotation"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Kind, what it draws where (row, column), in pixels, on which slices (first, last), and its stored value.

        ``at`` has no meaning: what a reader marks is drawn anywhere.
        """
        depth, height, width = volume.shape
        kind = str(rng.choice(KINDS))
        bright = volume.photometric != "MONOCHROME1"
        params: dict[str, JSON] = {
            "kind": kind,
            "level": float(volume.voxels.max() if bright else volume.voxels.min()),
            "line_px": max(1, round(min(height, width) / 256)),
        }
        if kind == "text":
            corner = [int(n * (0.06 if rng.integers(2) else 0.94)) for n in (height, width)]
            size = max(round(float(rng.uniform(0.018, 0.03)) * min(height, width)), 4)
            return params | {
                "at": [*corner],
                "words": str(rng.choice(WORDS)),
                "size_px": size,
                "slices": [0, depth - 1],
            }
        first = int(rng.integers(depth))
        params["at"] = [int(n * rng.uniform(0.2, 0.8)) for n in (height, width)]
        params["slices"] = [first, min(first + int(rng.integers(5)), depth - 1)]
        params["size_px"] = max(round(float(rng.uniform(0.05, 0.15)) * min(height, width)), 3)
        return params | {"degrees": round(float(rng.uniform(0.0, 360.0)), 1)}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: an unknown kind in the record.
        """
        cover = _cover(volume.shape[1:], params)
        first, last = params["slices"]
        voxels = volume.voxels.copy()
        where = slice(first, last + 1)
        voxels[where] = cover * np.float32(params["level"]) + (1.0 - cover) * voxels[where]
        return finish(volume, voxels, self.name, params, benign=True)


def _cover(shape: tuple[int, int], params: Mapping[str, Any]) -> FloatArray:
    row, column = params["at"]
    size, line = int(params["size_px"]), int(params["line_px"])
    if params["kind"] == "text":
        return lettering.placed(shape, lettering.text(params["words"], size), (row, column))
    if params["kind"] == "arrow":
        return lettering.arrow(shape, (row, column), float(params["degrees"]), size, line)
    if params["kind"] == "frame":
        return lettering.frame(shape, (row, column), (size, size), line)
    raise AttackError(f"unknown kind of annotation {params['kind']!r}", hint=f"one of {', '.join(KINDS)}")
