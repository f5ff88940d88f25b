"""Counter-forensics for one place: give it the noise that its surroundings have and it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume

TREND = 5.0
"""Width in pixels of what counts as anatomy and is taken off before noise is measured."""
TILE = 16
"""Side in pixels of the pieces that are measured: many small ones, so that their median keeps vessels out."""
SMOOTHING = 1.0
"""Width, in frequency bins, over which power spectra are averaged besides."""


@dataclass(frozen=True, slots=True)
class Regrain:
    """Add Gaussian noise whose power spectrum is what the ring round the place has more than the place itself.

    Spectra are measured in the slice plane as for a noise power spectrum (ICRU Report 54, 1996): windowed tiles, trend
    removed, squared transform; but their median is taken, which leaves vessels and borders out. The ring is the eight
    boxes round the place, without the tiles on another kind of tissue as long as there are others. Noise that the place
    has too much of stays: nothing is taken away.
    """

    name: str = "regrain"
    benign: bool = False
    box_mm: float = 36.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), size in mm, gain, window and seed."""
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "size_mm": round(float(rng.uniform(16.0, 36.0)), 2),
            "gain": round(float(rng.uniform(0.85, 1.1)), 3),
            "window": str(rng.choice(["tukey", "ellipsoid", "dome"])),
            "seed": int(rng.integers(2**31)),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original = volume.voxels[where]
        side = min(TILE, *original.shape[1:])
        ring = [tiles for box in _neighbours(volume, where) for tiles in _tiles(box, side)]
        voxels = volume.voxels.copy()
        if ring:
            level = float(np.median(original))
            alike = [tile for tile in ring if abs(float(np.median(tile)) - level) < cubes.SIMILAR]
            missing = _power(alike or ring) - _power(list(_tiles(original, side)))
            noise = _noise(np.maximum(missing, 0.0), original.shape, int(params["seed"]))
            voxels[where] = (
                original + np.float32(params["gain"]) * cubes.window(params["window"], original.shape) * noise
            )
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _neighbours(volume: Volume, where: tuple[slice, slice, slice]) -> Iterator[FloatArray]:
    """The eight boxes round ``where`` in the same slices, cut where they leave the volume."""
    slices, rows, columns = where
    height, width = rows.stop - rows.start, columns.stop - columns.start
    for down, across in product((-1, 0, 1), repeat=2):
        if (down, across) != (0, 0):
            j, i = rows.start + down * height, columns.start + across * width
            yield volume.voxels[slices, max(j, 0) : max(j + height, 0), max(i, 0) : max(i + width, 0)]


def _tiles(box: FloatArray, side: int) -> Iterator[FloatArray]:
    """The square tiles (side, side) that fit into the slices of a box (k, j, i), without overlap."""
    _, height, width = box.shape
    for plane in box:
        for j in range(0, height - side + 1, side):
            for i in range(0, width - side + 1, side):
                yield plane[j : j + side, i : i + side]


def _power(tiles: list[FloatArray]) -> NDArray[np.float64]:
    """Median power of tiles (side, side) by frequency, such that white noise has its variance everywhere."""
    stack = np.stack(tiles).astype(np.float64)
    taper = np.hanning(stack.shape[1] + 2)[1:-1]
    window = np.outer(taper, taper)
    residual = stack - ndimage.gaussian_filter(stack, (0.0, TREND, TREND))
    power = np.abs(np.fft.fft2(residual * window, axes=(1, 2))) ** 2 / np.sum(window**2)
    # The median of squares that are exponentially distributed is ln 2 times their mean.
    return np.asarray(ndimage.gaussian_filter(np.median(power, axis=0) / np.log(2.0), SMOOTHING, mode="wrap"))


def _noise(power: NDArray[np.float64], shape: tuple[int, ...], seed: int) -> FloatArray:
    """Gaussian noise of ``shape`` (k, j, i) with the power (side, side) by frequency, each slice of its own."""
    side = power.shape[0]
    at = np.meshgrid(*[np.fft.fftfreq(n) * side for n in shape[1:]], indexing="ij")
    gain = np.sqrt(ndimage.map_coordinates(power, at, order=1, mode="grid-wrap"))
    white = np.random.default_rng(seed).standard_normal(shape)
    return np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) * gain, axes=(1, 2)).real.astype(np.float32)
