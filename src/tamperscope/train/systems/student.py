"""What every system is before and after it has learned, and what their modules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from tamperscope.datasets import cases
from tamperscope.datasets.cases import Group
from tamperscope.datasets.manifest import Tick
from tamperscope.evaluate.systems import System
from tamperscope.records import JSON
from tamperscope.train.classifier import Classifier

LOOK_SEED = 20
"""Of what is looked at in the part calibrate: the same in every run on the same manifest."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What there is to learn from, and on what machine."""

    taught: Sequence[Group]
    """Series of the part train."""
    held: Sequence[Group]
    """Series of the part calibrate."""
    device: str = "cpu"
    tick: Tick | None = None
    most: int | None = None
    """Series of each label and part to read, for a trial; all if None."""
    cache: Path | None = None
    """Folder that keeps decoded pictures for the next training on the same files."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What was learned."""

    system: System
    """As it looks at volumes; its networks are the files."""
    facts: Mapping[str, JSON] = field(default_factory=dict)
    """For the record: parameters, the difference between torch and the file."""


class Student(Protocol):
    """A system that has read its series and learns. Made from a recipe and a `Lesson`."""

    @property
    def classifier(self) -> Classifier | None:
        """What `run.fit` trains before `model` is asked for; None where `model` learns at once."""
        ...

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Series and slices of each part and kind, for the record; see `slices.Slices.counts`."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that what was read takes."""
        ...

    @property
    def shown(self) -> int:
        """How many inputs of the part calibrate are looked at."""
        ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of all series that were read."""
        ...

    def model(self) -> Model:
        """The system with the best weights.

        Raises:
            WeightsError: the files answer otherwise than what was trained.
        """
        ...

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """Scores of the authentic, and of the forged series of the part calibrate: what the curve is fitted to."""
        ...


def judged(groups: Sequence[Group], modalities: Sequence[str], system: System) -> tuple[list[float], list[float]]:
    """Scores of the authentic and of the forged series, read again one by one."""
    found: tuple[list[float], list[float]] = [], []
    for group in groups:
        case = cases.opened(group)
        if case.volume.modality in modalities:
            found[case.forged].append(system.answer(case.volume).highest)
    return found


def sample(places: Sequence[tuple[int, int]], most: int, key: int) -> list[tuple[int, int]]:
    """At most so many of the places, in their order; always the same ones."""
    chosen = np.random.default_rng([LOOK_SEED, key]).permutation(len(places))[:most]
    return [places[number] for number in sorted(chosen.tolist())]
