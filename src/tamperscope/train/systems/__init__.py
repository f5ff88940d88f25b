"""How each system learns, one file a system or a family. `student` makes the one that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tamperscope.train.recipe import Recipe
from tamperscope.train.systems import pictures
from tamperscope.train.systems.back_in_time import BackInTimeStudent
from tamperscope.train.systems.cascade import CascadeStudent
from tamperscope.train.systems.classical import ClassicalStudent
from tamperscope.train.systems.features import FeatureStudent
from tamperscope.train.systems.forensic_net import ForensicStudent
from tamperscope.train.systems.mil_net import MilStudent
from tamperscope.train.systems.pictures import PictureStudent
from tamperscope.train.systems.student import Lesson, Model, Student
from tamperscope.train.systems.yolo import YoloStudent

__all__ = ["Lesson", "Model", "Student", "prove", "student"]

STUDENTS: Mapping[str, Callable[[Recipe, Lesson], Student]] = {
    "picture-net": PictureStudent.of,
    "plain-cnn": PictureStudent.of,
    "patch-net": PictureStudent.of,
    "own": PictureStudent.of,
    "svm": ClassicalStudent.of,
    "forest": ClassicalStudent.of,
    "tree": ClassicalStudent.of,
    "feature-net": FeatureStudent.of,
    "cascade": CascadeStudent.of,
    "yolo": YoloStudent.of,
    "forensic-net": ForensicStudent.of,
    "mil-net": MilStudent.of,
    "back-in-time": BackInTimeStudent.of,
}
"""One for each of `options.SYSTEMS`."""


PROVED: Mapping[str, Callable[[Recipe], None]] = dict.fromkeys(
    ("picture-net", "plain-cnn", "patch-net", "own"), pictures.prove
)
"""Those whose networks a user can choose so that they cannot be made: that is said before a manifest is read."""


def prove(recipe: Recipe) -> None:
    """That the network of a recipe can be made, where that is not certain. Raises as `student` does."""
    if recipe.system in PROVED:
        PROVED[recipe.system](recipe)


def student(recipe: Recipe, lesson: Lesson) -> Student:
    """The recipe's system, once it has read the series that it learns from.

    Raises:
        UsageError: the recipe asks for what the system cannot do.
        InputError: a part lacks a class, or a series cannot be read.
        WeightsError: weights to start from cannot be read.
    """
    return STUDENTS[recipe.system](recipe, lesson)
