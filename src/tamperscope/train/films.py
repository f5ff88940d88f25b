"""Pairs of crops of radiographs: forged in a place, translated, reconstructed or wholly generated, beside the film.

Size, contrast and file history must not tell the classes apart, so every picture goes through a `Handling` that is
drawn anew: another size, another contrast, other noise, a JPEG file. Where a picture was generated, film and forgery
are often handled differently, for nothing but the generator's trace may be what they differ in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch.utils.data import IterableDataset, get_worker_info

from tamperscope import anatomy, attacks, pictures
from tamperscope.errors import AttackError
from tamperscope.preprocess import picture_channels, resized
from tamperscope.records import FloatArray, MaskArray, Volume, voxel_digest
from tamperscope.train.crops import IGNORE, Pair, Recipe

CROP = 112
SIDES = (112, 225)
"""Sides that a film is brought to: from those of the smallest generated pictures to those of the films."""
CHANGED, TOUCHED = 1.5, 0.25
"""Mean absolute change in grey levels above which a pixel is forged, and up to which it is authentic."""
WHITE = 255.0
REPLACED = ("knee-gan", "knee-diffusion")
"""Attacks that show another knee than the film: twin and forgery may be handled differently."""
APART = 0.5
"""How often they are."""


@dataclass(frozen=True, slots=True)
class Film:
    """A radiograph (H, W), grey levels 0 to 255, bone bright."""

    patient: str
    plane: FloatArray


@dataclass(frozen=True, slots=True)
class Handling:
    """What a picture goes through between the machine and the one who asks."""

    side: int
    contrast: str
    """"none", "gamma", "clahe", or "match" for the mean histogram of the films."""
    gamma: float
    blur: float
    """Standard deviation in pixels; 0 for none."""
    noise: float
    """In grey levels; 0 for none."""
    jpeg: int | None
    """Quality, or None for a lossless file."""

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Handling:
        """One way of many."""
        return cls(
            side=int(rng.integers(*SIDES)),
            contrast=str(rng.choice(("none", "gamma", "clahe", "match"), p=(0.35, 0.2, 0.15, 0.3))),
            gamma=float(np.exp(rng.uniform(-0.4, 0.4))),
            blur=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.25 else 0.0,
            noise=float(rng.uniform(0.5, 4.0)) if rng.random() < 0.25 else 0.0,
            jpeg=int(rng.integers(60, 97)) if rng.random() < 0.35 else None,
        )

    def __call__(self, plane: FloatArray, mean: NDArray[np.float64], rng: np.random.Generator) -> FloatArray:
        """A picture (H, W) of 0 to 255 as (side, side) of whole grey levels; ``mean`` is the histogram of "match"."""
        seen = resized(plane, (self.side, self.side))
        if self.blur:
            seen = ndimage.gaussian_filter(seen, self.blur)
        if self.noise:
            seen = seen + self.noise * rng.standard_normal(seen.shape, dtype=np.float32)
        seen = np.clip(seen, 0.0, WHITE)
        if self.contrast == "gamma":
            seen = np.float32(WHITE) * (seen / np.float32(WHITE)) ** np.float32(self.gamma)
        grey = np.rint(seen).astype(np.uint8)
        if self.contrast == "clahe":
            grey = pictures.clahe(grey)
        elif self.contrast == "match":
            at = np.linspace(0.0, 1.0, grey.size)
            grey = pictures.matched(seen, np.interp(at, np.linspace(0.0, 1.0, mean.size), mean))
        return pictures.compressed(grey, self.jpeg).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A forged picture (H, W) of 0 to 255, the film in its place, and the truth (H, W) as in `crops.Pair`."""

    forged: FloatArray
    film: FloatArray
    truth: FloatArray
    attack: str
    patient: str


class Films(IterableDataset[Pair]):
    """An endless stream of `Pair` (3, 112, 112). Each worker draws from a generator of its own."""

    def __init__(self, films: Sequence[Film], recipe: Recipe, seed: int) -> None:
        self.films = films
        self.recipe = recipe
        self.seed = seed
        self.mean = np.mean([np.sort(one.plane, axis=None) for one in films], axis=0)

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            pair = self.draw(rng)
            if pair is not None:
                yield pair

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """One pair, or None where the attack cannot be made here or changed nothing."""
        made = self.made(rng)
        if made is None:
            return None
        seen = [picture_channels(plane) for plane in (made.forged, made.film)]
        return _cut(seen, made.truth, made.attack, made.patient, rng)

    def made(self, rng: np.random.Generator) -> Made | None:
        """A whole forged picture and its film, handled; None as for `draw`."""
        film, donor = (self.films[int(n)] for n in rng.choice(len(self.films), 2, replace=False))
        name = self.recipe.attack(rng)
        volume = as_volume(film.plane)
        known = attacks.local((as_volume(donor.plane),)) | attacks.synthesis()
        try:
            forgery = known[name].apply(volume, known[name].sample(volume, rng, at=_place(volume, rng)))
        except AttackError:
            return None
        forged = np.clip(forgery.volume.voxels[0], 0.0, WHITE)
        whole = name in attacks.synthesis() and not name.startswith("jekyll")
        target = np.ones_like(forged) if whole else _target(film.plane, forged)
        if not (target > 0).any():
            return None
        handling, state = Handling.drawn(rng), int(rng.integers(2**31))
        other = Handling.drawn(rng) if name in REPLACED and rng.random() < APART else handling
        seen = [
            way(plane, self.mean, np.random.default_rng(state))
            for way, plane in ((handling, forged), (other, film.plane))
        ]
        side = (handling.side, handling.side)
        truth = np.asarray(Image.fromarray(target).resize(side, Image.Resampling.NEAREST))
        return Made(seen[0], seen[1], truth, name, film.patient)


def as_volume(plane: FloatArray) -> Volume:
    """A picture (H, W) of eight bits that states nothing else."""
    voxels = plane[None].astype(np.float32)
    return Volume(voxels, np.eye(4), "DX", "picture", "none", 8, digest=voxel_digest(voxels))


def _place(volume: Volume, rng: np.random.Generator) -> tuple[int, int, int]:
    inside: MaskArray = anatomy.tissue(volume.voxels)
    _, row, column = np.unravel_index(int(rng.choice(np.flatnonzero(inside))), inside.shape)
    return 0, int(row), int(column)


def _target(film: FloatArray, forged: FloatArray) -> FloatArray:
    change = ndimage.gaussian_filter(np.abs(forged - film), 1.0)
    return np.where(change > CHANGED, 1.0, np.where(change > TOUCHED, IGNORE, 0.0)).astype(np.float32)


def _cut(
    seen: Sequence[FloatArray], truth: FloatArray, name: str, patient: str, rng: np.random.Generator
) -> Pair | None:
    """The same part of forgery, film and truth, with some of what was forged in it, mirrored alike.

    Where film and forgery have different sizes, the part of the film lies anywhere.
    """
    rows, columns = np.nonzero(truth > 0)
    chosen = int(rng.integers(rows.size))
    corner = [
        int(np.clip(at - rng.integers(16, CROP - 16), 0, size - CROP))
        for at, size in zip((rows[chosen], columns[chosen]), truth.shape, strict=True)
    ]
    apart = seen[1].shape != seen[0].shape
    other = [int(rng.integers(size - CROP + 1)) for size in seen[1].shape[1:]] if apart else corner
    mirror = bool(rng.integers(2))

    def part(values: FloatArray, start: Sequence[int]) -> FloatArray:
        cut = values[..., start[0] : start[0] + CROP, start[1] : start[1] + CROP]
        return np.ascontiguousarray(cut[..., ::-1] if mirror else cut)

    found = part(truth, corner)
    return Pair(part(seen[0], corner), part(seen[1], other), found, name, patient) if (found > 0).any() else None
