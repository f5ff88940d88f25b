"""For the tests of training on knees: pictures of two bones and a gap, narrower the higher the grade. Needs torch."""

from __future__ import annotations

import numpy as np

from tamperscope.train.knees import SIDE, Knees


def film(grade: int, rng: np.random.Generator) -> np.ndarray:
    """(224, 224) in -1..1: bone with texture above and below a dark gap in a darker rest."""
    rows, columns = np.meshgrid(np.arange(SIDE) - 119.0, np.linspace(-1.0, 1.0, SIDE), indexing="ij")
    width, tilt = rng.uniform(0.7, 0.85), rng.uniform(-6.0, 6.0)
    bone = (np.abs(columns) < width) & (np.abs(rows - tilt * columns) > 12.0 - 2.5 * grade)
    texture = 0.15 * rng.standard_normal((SIDE, SIDE))
    return np.clip(np.where(bone, 0.4 + texture, -0.6 + 0.2 * texture), -1.0, 1.0).astype(np.float32)


def films(count: int, seed: int) -> Knees:
    """``count`` pictures, their grades 0 to 4 in turn."""
    rng, grades = np.random.default_rng(seed), np.arange(count) % 5
    return Knees(np.stack([film(int(grade), rng) for grade in grades]), grades, {"pictures": count})


FILMS = films(40, 1)
