"""Benign: lossy compression of the whole picture, as archives do within the rules."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jpeg_ls
import numpy as np
from PIL import Image

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

WINDOW_HU = (-1000.0, 1000.0)
"""JPEG holds 8 bits: the range of CT that is spread over them (ends are clipped). Other pictures use all of theirs."""

SMALLEST_JPEG_LS = 16


@dataclass(frozen=True, slots=True)
class Compress:
    """Slice by slice into a codec and back: JPEG at 8 bit, JPEG 2000 or near-lossless JPEG-LS at 16.

    Without a mode the codec is drawn, JPEG 2000 or JPEG. Near-lossless JPEG-LS moves no value further than its error
    (ISO/IEC 14495-1, NEAR), which leaves steps instead of blur.
    """

    mode: Literal["jpeg", "jpeg2000", "jpeg-ls"] | None = None
    benign: bool = True

    @property
    def name(self) -> str:
        """The change with its mode."""
        return f"compress-{self.mode}" if self.mode else "compress"

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Codec with its ratio, quality or largest error; ``at`` has no meaning for a whole picture."""
        codec = self.mode or ("jpeg2000" if rng.random() < 0.6 else "jpeg")
        if codec == "jpeg2000":
            return {"codec": codec, "ratio": round(float(rng.uniform(4.0, 14.0)), 2)}
        if codec == "jpeg":
            return {"codec": codec, "quality": int(rng.integers(75, 99))}
        return {"codec": codec, "error": int(rng.integers(1, 9))}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: an unknown codec in the record.
        """
        planes = volume.luminance
        if params["codec"] == "jpeg":
            window = WINDOW_HU if volume.modality == "CT" else (float(planes.min()), float(planes.max()))
            coded = [_jpeg(plane, int(params["quality"]), window) for plane in planes]
        elif params["codec"] == "jpeg2000":
            coded = [_jpeg2000(plane, float(params["ratio"])) for plane in planes]
        elif params["codec"] == "jpeg-ls":
            coded = [_jpeg_ls(plane, int(params["error"])) for plane in planes]
        else:
            raise AttackError(f"unknown codec {params['codec']!r}", hint="jpeg2000 or jpeg or jpeg-ls")
        return finish(volume, np.stack(coded), self.name, params, benign=True)


def _jpeg2000(plane: FloatArray, ratio: float) -> FloatArray:
    base = float(plane.min())
    stored = np.clip(plane - base, 0, 65535).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(stored).save(out, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio])
    return np.asarray(Image.open(io.BytesIO(out.getvalue())), dtype=np.float32) + np.float32(base)


def _jpeg(plane: FloatArray, quality: int, window: tuple[float, float]) -> FloatArray:
    low, high = window
    grey = np.rint(np.clip((plane - low) / max(high - low, 1.0), 0.0, 1.0) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=quality)
    opened = np.asarray(Image.open(io.BytesIO(out.getvalue())), dtype=np.float32)
    return np.asarray(opened / 255 * np.float32(max(high - low, 1.0)) + np.float32(low), dtype=np.float32)


def _jpeg_ls(plane: FloatArray, error: int) -> FloatArray:
    base = float(plane.min())
    stored = np.clip(np.rint(plane - base), 0, 65535).astype(np.uint16)
    # The encoder reserves no more than the picture's own bytes, which the headers alone exceed in a tiny one.
    stored = np.pad(stored, [(0, max(SMALLEST_JPEG_LS - n, 0)) for n in plane.shape], mode="edge")
    coded = jpeg_ls.encode_buffer(stored.tobytes(), *stored.shape, 1, 16, lossy_error=error)
    opened = jpeg_ls.decode(np.frombuffer(coded, dtype=np.uint8))[: plane.shape[0], : plane.shape[1]]
    return np.asarray(opened, dtype=np.float32) + np.float32(base)
