"""Patches of authentic pictures, CT slices and radiographs, for training the autoencoder at native resolution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamperscope.attacks import scale
from tamperscope.attacks.autoencoder import WINDOW_HU
from tamperscope.errors import InputError
from tamperscope.records import FloatArray, Volume

SIDE = 64
EVERY = 3
"""Of the slices of a volume, one in three is kept: its neighbours show nearly the same."""
FLAT = 0.02
"""Range, in -1..1, below which a patch shows nothing but air."""
TRIES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture (H, W), at least `SIDE` a side, in half precision of -1..1."""

    pixels: NDArray[np.float16]
    weight: float


class Patches:
    """Draws patches float32 (N, 1, 64, 64) in -1..1, turned and mirrored."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        if not pictures:
            raise InputError(f"no picture of {SIDE} pixels a side to train on", hint="give CT slices or radiographs")
        self.pictures = pictures
        self.weights = np.array([one.weight for one in pictures]) / sum(one.weight for one in pictures)

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """``count`` patches, few of them of nothing but air."""
        chosen = rng.choice(len(self.pictures), size=count, p=self.weights)
        return np.stack([self._one(self.pictures[number].pixels, rng) for number in chosen])[:, None]

    def _one(self, pixels: NDArray[np.float16], rng: np.random.Generator) -> FloatArray:
        for _ in range(TRIES):
            row, column = (int(rng.integers(size - SIDE + 1)) for size in pixels.shape)
            patch = pixels[row : row + SIDE, column : column + SIDE].astype(np.float32)
            if np.ptp(patch) > FLAT:
                break
        turned = np.rot90(patch, int(rng.integers(4)))
        return np.ascontiguousarray(turned[:, ::-1] if rng.integers(2) else turned)


def from_volumes(volumes: Iterable[tuple[str, Volume]], weight: float) -> list[Picture]:
    """Slices of (patient, CT volume) pairs; together they weigh ``weight``, each patient the same."""
    planes: dict[str, list[FloatArray]] = {}
    for patient, volume in volumes:
        kept = scale.squeeze(volume.voxels[::EVERY], scale.span(volume, WINDOW_HU))
        if min(kept.shape[1:]) >= SIDE:
            planes.setdefault(patient, []).extend(kept)
    return [
        Picture(plane.astype(np.float16), weight / len(planes) / len(group))
        for group in planes.values()
        for plane in group
    ]


def from_pictures(pictures: FloatArray, weight: float) -> list[Picture]:
    """Pictures (N, H, W) in -1..1; together they weigh ``weight``."""
    return [Picture(picture.astype(np.float16), weight / len(pictures)) for picture in pictures]
