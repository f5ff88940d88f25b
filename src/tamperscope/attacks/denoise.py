"""Benign: smooth the whole picture, as vendors' and archives' noise reduction does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Denoise:
    """Gaussian, median or adaptive Wiener smoothing of every slice, mixed with the original."""

    name: str = "denoise"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Filter, width in pixels and share of the smoothed picture; ``at`` has no meaning for a whole picture."""
        return {
            "filter": str(rng.choice(["gaussian", "gaussian", "median", "wiener"])),
            "sigma": round(float(rng.uniform(0.35, 1.1)), 3),
            "share": round(float(rng.uniform(0.3, 1.0)), 3),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        smooth = _FILTERS[params["filter"]](volume.voxels, float(params["sigma"]))
        share = np.float32(params["share"])
        return finish(volume, share * smooth + (1 - share) * volume.voxels, self.name, params, benign=True)


def _gaussian(voxels: Any, sigma: float) -> Any:
    return ndimage.gaussian_filter(voxels, (0.0, sigma, sigma))


def _median(voxels: Any, _sigma: float) -> Any:
    return ndimage.median_filter(voxels, (1, 3, 3))


def _wiener(voxels: Any, sigma: float) -> Any:
    """Pixelwise adaptive Wiener filter (Lim, Two-Dimensional Signal and Image Processing, 1990, equation 9.44)."""
    mean = ndimage.uniform_filter(voxels, (0, 3, 3))
    variance = np.maximum(ndimage.uniform_filter(voxels**2, (0, 3, 3)) - mean**2, 0.0)
    noise = sigma**2 * np.median(variance)
    return mean + np.maximum(variance - noise, 0.0) / np.maximum(variance, max(float(noise), 1e-6)) * (voxels - mean)


_FILTERS = {"gaussian": _gaussian, "median": _median, "wiener": _wiener}
