"""Benign: another reconstruction kernel, as far as a filter of the finished picture can give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import fft

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, FloatArray, Forgery, Volume

SOFT_PER_MM, SHARP_PER_MM = (0.28, 0.38), (0.5, 0.8)
"""Where body kernels and lung or bone kernels pass half, in cycles per mm."""


@dataclass(frozen=True, slots=True)
class KernelChange:
    """Multiply the spectrum of every slice by the ratio of two frequency responses: the new kernel's over the old's.

    A reconstruction is linear, so the ratio of the two modulation transfer functions turns one kernel's picture into
    the other's (Schaller et al., Spatial domain filtering for fast modification of the tradeoff between image
    sharpness and pixel noise in computed tomography, IEEE Transactions on Medical Imaging 22, 2003). Both responses
    are taken as exp(-ln 2 (f / f50)^2), f in cycles per mm; the cosine transform mirrors the picture at its border.

    What it cannot do: bring back what the old kernel took away (the ratio is held at ``limit``), the overshoot of
    edge-enhancing kernels, their dependence on the place in the field of view, and values that the file had clipped.
    The real old kernel is not asked: a picture that is softer than assumed stays softer.
    """

    mode: Literal["sharpen", "soften"]
    benign: bool = True
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = 8.0

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"kernel-change-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Half-pass frequencies from and to, in cycles per mm, and the largest gain; ``at`` has no meaning here."""
        soft, sharp = rng.uniform(*SOFT_PER_MM), rng.uniform(*SHARP_PER_MM)
        start, end = (soft, sharp) if self.mode == "sharpen" else (sharp, soft)
        return {
            "from_per_mm": round(float(start), 3),
            "to_per_mm": round(float(end), 3),
            "limit": round(float(rng.uniform(2.0, 4.0)), 2),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        _, *spacing = volume.spacing_mm
        down, across = (np.arange(n) / (2.0 * n * mm) for n, mm in zip(volume.shape[1:], spacing, strict=True))
        square = down[:, None] ** 2 + across[None, :] ** 2
        slope = np.log(2.0) * (float(params["from_per_mm"]) ** -2 - float(params["to_per_mm"]) ** -2)
        ratio = np.exp(np.minimum(slope * square, np.log(float(params["limit"])))).astype(np.float32)
        voxels = np.stack([_filtered(plane, ratio) for plane in volume.voxels])
        return finish(volume, voxels, self.name, params, benign=True)


def _filtered(plane: FloatArray, ratio: FloatArray) -> FloatArray:
    filtered: FloatArray = fft.idctn(fft.dctn(plane, type=2) * ratio, type=2)
    return filtered
