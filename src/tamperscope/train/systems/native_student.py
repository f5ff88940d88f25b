"""What the systems share that learn from untouched pixels."""

from __future__ import annotations

from collections.abc import Sequence

from tamperscope.datasets.cases import Group
from tamperscope.evaluate.systems import System
from tamperscope.train.classifier import Classifier
from tamperscope.train.native import Part, Spec, load
from tamperscope.train.recipe import Recipe
from tamperscope.train.systems.student import Lesson, judged

PARTS = ("train", "calibrate")


class NativeStudent:
    """The parts of a `student.Student` that are the same in all of them.

    Args:
        recipe: of the system.
        taught: what was read of the part train.
        held: what was read of the part calibrate.
        groups: the series of the part calibrate, to be judged whole in the end.
    """

    classifier: Classifier
    shown: int

    def __init__(self, recipe: Recipe, taught: Part, held: Part, groups: Sequence[Group] = ()) -> None:
        self.recipe, self.taught, self.held, self.groups = recipe, taught, held, groups

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`."""
        return {"train": self.taught.counts, "calibrate": self.held.counts}

    @property
    def nbytes(self) -> int:
        """See `student.Student`."""
        return self.taught.nbytes + self.held.nbytes

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `student.Student`."""
        return tuple(sorted({*self.taught.modalities, *self.held.modalities}))

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`; the series are read again, for all of their slices count."""
        return judged(self.groups, self.modalities, system)


def read(lesson: Lesson, spec: Spec) -> tuple[Part, Part]:
    """The parts train and calibrate. Raises as `native.load` does."""
    taught, held = (
        load(groups, part, spec, lesson.tick, lesson.most)
        for part, groups in zip(PARTS, (lesson.taught, lesson.held), strict=True)
    )
    return taught, held
