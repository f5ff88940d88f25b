"""Benign: lossy compression of the whole picture, as archives do within the rules."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

WINDOW_HU = (-1000.0, 1000.0)
"""JPEG holds 8 bits: the range that is spread over them (ends are clipped)."""


@dataclass(frozen=True, slots=True)
class Compress:
    """JPEG 2000 at 16 bit with a given ratio, or JPEG at 8 bit with a given quality, slice by slice, and back."""

    name: str = "compress"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Codec with its ratio or quality; ``at`` has no meaning for a whole picture."""
        if rng.random() < 0.6:
            return {"codec": "jpeg2000", "ratio": round(float(rng.uniform(4.0, 14.0)), 2)}
        return {"codec": "jpeg", "quality": int(rng.integers(75, 99))}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: an unknown codec in the record.
        """
        if params["codec"] not in ("jpeg2000", "jpeg"):
            raise AttackError(f"unknown codec {params['codec']!r}", hint="jpeg2000 or jpeg")
        code = _jpeg2000 if params["codec"] == "jpeg2000" else _jpeg
        voxels = np.stack([code(plane, params) for plane in volume.luminance])
        return finish(volume, voxels, self.name, params, benign=True)


def _jpeg2000(plane: FloatArray, params: Mapping[str, Any]) -> FloatArray:
    base = float(plane.min())
    stored = np.clip(plane - base, 0, 65535).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(stored).save(
        out, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[float(params["ratio"])]
    )
    return np.asarray(Image.open(io.BytesIO(out.getvalue())), dtype=np.float32) + np.float32(base)


def _jpeg(plane: FloatArray, params: Mapping[str, Any]) -> FloatArray:
    low, high = WINDOW_HU
    grey = np.rint(np.clip((plane - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=int(params["quality"]))
    opened = np.asarray(Image.open(io.BytesIO(out.getvalue())), dtype=np.float32)
    return np.asarray(opened / 255 * np.float32(high - low) + np.float32(low), dtype=np.float32)
