"""Slices of noise at native size with a place of stronger noise in the forged ones: what the native systems learn."""

from __future__ import annotations

import numpy as np

from tamperscope.datasets.cases import Case
from tamperscope.records import Volume
from tamperscope.train.native import Part, Spec, kept

SIDE, EDIT = 96, 32
WINDOW = (-1000.0, 400.0)


def ct(voxels: np.ndarray) -> Volume:
    """A CT with pixels of 1 mm."""
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [2.5, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(voxels.astype(np.float32), affine, "CT", digest=f"of {voxels.shape}")


def volume(seed: int, *, forged: bool, depth: int = 1) -> tuple[Volume, np.ndarray]:
    """A CT of soft tissue in air with its mask: the noise of a square place is larger if it is forged."""
    rng = np.random.default_rng(seed)
    body = np.zeros((depth, SIDE, SIDE), dtype=bool)
    body[:, 6:-6, 6:-6] = True
    voxels = np.where(body, rng.normal(0.0, 20.0, body.shape), -1000.0)
    mask = np.zeros(body.shape, dtype=bool)
    if forged:
        row, column = rng.integers(10, SIDE - EDIT - 10, 2)
        mask[:, row : row + EDIT, column : column + EDIT] = True
        voxels[mask] += rng.normal(0.0, 150.0, int(mask.sum()))
    return ct(voxels), mask


def case(seed: int, *, forged: bool, depth: int = 1) -> Case:
    """The same as a case of patient ``seed``."""
    pixels, mask = volume(seed, forged=forged, depth=depth)
    return Case(f"{seed}-{forged}", str(seed), forged, pixels, mask, (), {})


def part(seed: int, count: int = 12, spec: Spec | None = None, depth: int = 1) -> Part:
    """A forged series and its twin of each of so many patients."""
    asked = spec or Spec(WINDOW, 4)
    every = (case(1000 * seed + n, forged=forged, depth=depth) for n in range(count) for forged in (False, True))
    return Part(tuple(kept(one, asked) for one in every))


def steps(classifier, count: int) -> list[float]:
    """The losses of so many steps."""
    return [classifier.step(number, np.random.default_rng([1, number]))["loss"] for number in range(count)]


ODD = {"one pixel": (1, 1, 1), "a line": (1, 5, 300), "tiny": (3, 2, 2), "odd sides": (2, 33, 50)}
"""Shapes on which every system must have finite answers."""


def constant(shape: tuple[int, int, int], value: float) -> Volume:
    """A CT of one value."""
    return ct(np.full(shape, value))
