"""Support vectors, a random forest and a decision tree on pixels as they are (Solaiyappan and Wen, MLWA 8, 2022).

The source compares them on raw pixels and on "delta regions", and how the latter are made is not available to us. Here
they are the places where a forgery and its original differ: crops in the slice's own pixels round changed voxels, the
same place of the twin, and places of authentic slices. At scan time every part of the body is looked at, and a slice
is as suspicious as its highest region. What is seen are 8-bit pictures through a window, as the source takes them from
viewers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamperscope import pictures
from tamperscope.errors import InputError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Pictures, System
from tamperscope.evaluate.systems import Regions as RegionLook
from tamperscope.evaluate.systems.pictures import INPUT, NETWORK, OUTPUT
from tamperscope.pictures import Grey, PictureSpec
from tamperscope.train import classical, regions, slices
from tamperscope.train.picture_cache import AUTHENTIC, FORGED
from tamperscope.train.recipe import Recipe
from tamperscope.train.systems.student import Lesson, Model, judged

COMPARED = 64
"""Rows on which the file is held against scikit-learn."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassicalStudent:
    """See `student.Student`. It is fitted at once: there is nothing to go on with."""

    recipe: Recipe
    lesson: Lesson
    rows: NDArray[np.uint8]
    """(N, side, side): what is learned from, authentic ones first."""
    labels: NDArray[np.int8]
    taught: dict[str, int]
    modalities: tuple[str, ...]
    classifier: None = None
    shown: int = 0

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> ClassicalStudent:
        """Reads the part train; the series of the part calibrate are read when they are judged."""
        rng = np.random.default_rng(recipe.train.seed)
        if recipe.input.look == "regions":
            cut = regions.Regions(recipe.input.side, recipe.input.window_hu)
            cut = regions.load(lesson.taught, "train", cut, rng, lesson.tick, lesson.most)
            return cls(recipe, lesson, *_rows(cut.authentic, cut.forged, recipe, rng), cut.counts, cut.modalities)
        read = slices.load(lesson.taught, "train", spec_of(recipe), lesson.tick, lesson.most, lesson.cache)
        authentic, forged = ([read.series[n].pictures[k] for n, k in read.of(one)] for one in (AUTHENTIC, FORGED))
        return cls(recipe, lesson, *_rows(authentic, forged, recipe, rng), read.counts, read.modalities)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`."""
        return {"train": self.taught}

    @property
    def nbytes(self) -> int:
        """See `student.Student`; rows are single precision, and scikit-learn may hold them doubled."""
        return self.rows.size * (1 + 4 + 8)

    def model(self) -> Model:
        """See `student.Student`."""
        seen = pictures.unit(self.rows)
        made = classical.fitted(self.recipe.net, seen.reshape(len(seen), -1), self.labels, self.recipe.train.seed)
        some = seen[:: max(1, len(seen) // COMPARED)]
        data, difference = classical.exported(made, NETWORK, INPUT, OUTPUT, seen.shape[1:], some)
        networks, facts = Networks({NETWORK: data}), {"difference_to_scikit_learn": difference, "bytes": len(data)}
        if self.recipe.input.look == "regions":
            return Model(RegionLook(self.recipe.input.side, self.recipe.input.window_hu, networks), facts)
        return Model(Pictures(spec_of(self.recipe), networks), facts)

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`."""
        found = judged(self.lesson.held, self.modalities, system)
        if not all(found):
            raise InputError(
                f"the part calibrate lacks a class among its series of {', '.join(self.modalities)}",
                hint="give authentic and forged series of the modalities of the part train",
            )
        return found


def spec_of(recipe: Recipe) -> PictureSpec:
    """The small pictures that a recipe asks for."""
    return PictureSpec(recipe.input.side, recipe.input.window_hu)


def _rows(
    authentic: list[Grey], forged: list[Grey], recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """At most half of the recipe's rows of each, drawn, and their labels."""
    kept = [np.sort(rng.permutation(len(each))[: recipe.net.most // 2]) for each in (authentic, forged)]
    labels = np.repeat(np.array([AUTHENTIC, FORGED], np.int8), [len(one) for one in kept])
    return np.stack([*(authentic[n] for n in kept[0]), *(forged[n] for n in kept[1])]), labels
