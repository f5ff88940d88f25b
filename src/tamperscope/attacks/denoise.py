"""Benign: smooth the whole picture, as vendors' and archives' noise reduction does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, FloatArray, Forgery, Volume

TV_STEPS, TV_STEP = 15, 0.25
"""Iterations of the dual ascent; it converges for steps up to 1/4 (Chambolle 2004, section 3, and its remark)."""


@dataclass(frozen=True, slots=True)
class Denoise:
    """Gaussian, median or adaptive Wiener smoothing of every slice, mixed with the original.

    "iterative" smooths by total variation instead, which keeps edges and flattens what lies between them, as
    iterative reconstruction does; vendors mix it with the plain picture in the same way, in steps of strength.
    """

    mode: Literal["iterative"] | None = None
    benign: bool = True

    @property
    def name(self) -> str:
        """The change with its mode."""
        return f"denoise-{self.mode}" if self.mode else "denoise"

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Filter, width in pixels and share of the smoothed picture; ``at`` has no meaning for a whole picture.

        The width of "iterative" is the strength of its smoothing, in standard deviations of the noise.
        """
        if self.mode:
            return {
                "filter": self.mode,
                "sigma": round(float(rng.uniform(0.6, 1.8)), 3),
                "share": round(float(rng.uniform(0.3, 0.9)), 3),
            }
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


def _iterative(voxels: Any, sigma: float) -> Any:
    residual = np.abs(voxels - ndimage.uniform_filter(voxels, (0, 3, 3)))
    moved = residual[residual > 0.0]  # air that the file clipped has no noise to measure
    noise = 1.4826 * float(np.median(moved)) if moved.size else 0.0
    return np.stack([_least_variation(plane, sigma * noise) for plane in voxels]) if sigma * noise else voxels


def _least_variation(plane: FloatArray, strength: float) -> FloatArray:
    """The minimum of TV(u) + |u - plane|^2 / (2 strength) (Chambolle, J. Math. Imaging and Vision 20, 2004, eq. 9)."""
    down, across = np.zeros_like(plane), np.zeros_like(plane)
    step = np.float32(TV_STEP)
    for _ in range(TV_STEPS):
        rest = _divergence(down, across) - plane / np.float32(strength)
        rows, columns = np.diff(rest, axis=0, append=rest[-1:]), np.diff(rest, axis=1, append=rest[:, -1:])
        shrink = 1.0 + step * np.hypot(rows, columns)
        down, across = (down + step * rows) / shrink, (across + step * columns) / shrink
    return plane - np.float32(strength) * _divergence(down, across)


def _divergence(down: FloatArray, across: FloatArray) -> FloatArray:
    """The negative adjoint of forward differences that are zero at the last row and column."""
    zero = np.float32(0.0)  # a plain 0.0 would make float64 of the slice
    return np.diff(down, axis=0, prepend=zero) + np.diff(across, axis=1, prepend=zero)


_FILTERS = {"gaussian": _gaussian, "median": _median, "wiener": _wiener, "iterative": _iterative}
