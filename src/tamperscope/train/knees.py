"""Knee radiographs to train on: the training part of a split by patient, left knees mirrored.

The pictures are those of `datasets.knee_severity` at 224 x 224 pixels, eight bits, CLAHE applied; the folder is the
grade of Kellgren and Lawrence, the seven digits of the name are the patient, and the letter behind them is the side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamperscope.datasets import images, knee_severity, manifest
from tamperscope.datasets.manifest import Entry, Part
from tamperscope.errors import InputError
from tamperscope.records import JSON, FloatArray
from tamperscope.train.films import Film

SIDE = 224
WHITE = 255.0
GRADES = 5
ROTATION: tuple[Part, ...] = ("train", "train", "train", "calibrate", "test")
"""Patients in order of their numbers are dealt out like this; both knees of a patient go the same way."""
LICENCE = "Apache-2.0 (weights); trained on data under CC BY 4.0 (Chen 2018, Mendeley Data 56rmx5bjcr)"
INTENDED_USE = "Red team only: makes forgeries on which detectors are trained and measured. No medical use."
SHIFT = 4
"""Pixels by which a drawn picture is moved at most, along each axis."""


@dataclass(frozen=True, slots=True)
class Knee:
    """One file of the data set."""

    entry: Entry
    grade: int
    left: bool


@dataclass(frozen=True, slots=True, eq=False)
class Knees:
    """Pictures to draw from."""

    pictures: FloatArray
    """(N, 224, 224) in -1..1, bone bright, left knees mirrored to right ones."""
    grades: NDArray[np.int64]
    facts: Mapping[str, JSON]
    """What a Card states of them: data, licence, split, numbers and the digest over the files."""

    def draw(
        self, rng: np.random.Generator, count: int, among: Sequence[int] = range(GRADES)
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """``count`` pictures (count, 1, 224, 224), each moved by up to 4 pixels, and their grades (count,).

        Grades are drawn first, by the square root of their number of pictures: the rare ones are seen more often than
        they occur, and the few pictures of the rarest are not seen all the time.
        """
        held = [np.flatnonzero(self.grades == grade) for grade in among]
        shares = np.sqrt([one.size for one in held])
        grades = rng.choice(len(held), size=count, p=shares / shares.sum())
        chosen = np.array([rng.choice(held[grade]) for grade in grades])
        moved = [_moved(self.pictures[one], rng.integers(0, 2 * SHIFT + 1, 2)) for one in chosen]
        return np.stack(moved)[:, None], self.grades[chosen]


def _moved(picture: FloatArray, start: NDArray[np.int64]) -> FloatArray:
    """Whole pixels, so that nothing is interpolated and the grain stays as it was."""
    row, column = start
    return np.pad(picture, SHIFT, mode="reflect")[row : row + SIDE, column : column + SIDE]


def knees(root: Path) -> tuple[Knee, ...]:
    """Every picture below ``root``, in order of the paths.

    Raises:
        UnreadableError: there is none, or one cannot be read.
        InputError: a file name that states no side.
    """
    found = []
    for entry in sorted(knee_severity.entries(root), key=lambda one: one.path):
        side = entry.path.stem[len(entry.patient) :][:1]
        if side not in ("L", "R"):
            raise InputError(f"{entry.path} states no side", hint="keep the names as published, as 9001234L.png")
        found.append(Knee(entry, int(entry.grade.removeprefix("kl")), side == "L"))
    return tuple(found)


def parts(found: Sequence[Knee]) -> dict[str, Part]:
    """The part of every patient, always the same for the same patients.

    Raises:
        InputError: one picture is filed under patients of two parts.
    """
    dealt = manifest.by_rotation((knee.entry.patient for knee in found), ROTATION)
    manifest.check_disjoint((knee.entry for knee in found), dealt)
    return dealt


def divided(root: Path) -> tuple[Entry, ...]:
    """Every picture below ``root`` in the part of its patient: what a leak check wants.

    Raises:
        UnreadableError, InputError: see `knees` and `parts`.
    """
    found = knees(root)
    return manifest.placed((knee.entry for knee in found), parts(found))


def training(root: Path) -> Knees:
    """The pictures of the training patients below ``root``. No other picture is opened.

    Raises:
        InputError: a file cannot be read, has another size, or its name states no patient.
    """
    found = knees(root)
    dealt = parts(found)
    chosen = [knee for knee in found if dealt[knee.entry.patient] == "train"]
    pictures = _positives(np.stack([_picture(knee) for knee in chosen]))
    facts: dict[str, JSON] = {
        "data": "Knee Osteoarthritis Severity Grading Dataset (Chen 2018, Mendeley Data 56rmx5bjcr), CC BY 4.0",
        "patients": len({knee.entry.patient for knee in chosen}),
        "pictures": len(chosen),
        "pictures_of_each_grade": [sum(knee.grade == grade for knee in chosen) for grade in range(GRADES)],
        "split": f"patients in order, dealt out as {', '.join(ROTATION)}; only the part train was used",
        "manifest_digest": manifest.digest(knee.entry for knee in chosen),
    }
    return Knees(pictures, np.array([knee.grade for knee in chosen], dtype=np.int64), facts)


def films(root: Path, part: Part) -> list[Film]:
    """The films of the patients of a part, as they are stored but for negatives, grey levels 0 to 255.

    Raises:
        InputError: a file cannot be read, has another size, or its name states no patient.
    """
    found = knees(root)
    dealt = parts(found)
    chosen = [knee for knee in found if dealt[knee.entry.patient] == part]
    planes = _positives(np.stack([_picture(knee) for knee in chosen]))
    as_stored = (plane[:, ::-1] if knee.left else plane for knee, plane in zip(chosen, planes, strict=True))
    grey = (np.rint((plane + 1.0) * np.float32(0.5 * WHITE)) for plane in as_stored)
    return [Film(knee.entry.patient, plane) for knee, plane in zip(chosen, grey, strict=True)]


def _positives(pictures: FloatArray) -> FloatArray:
    """Pictures (N, H, W), bone bright: the few that look like the opposite of the others are negatives, and turned."""
    middle = pictures.mean(axis=0)
    likeness = ((pictures - pictures.mean(axis=(1, 2), keepdims=True)) * (middle - middle.mean())).sum(axis=(1, 2))
    pictures[likeness < 0] *= -1.0
    return pictures


def _picture(knee: Knee) -> FloatArray:
    """(224, 224) in -1..1 of one file."""
    path = knee.entry.path
    planes = images.planes(path)
    if planes.shape != (1, SIDE, SIDE) or planes.max() > WHITE:
        raise InputError(
            f"{path} has the shape {planes.shape} and values up to {planes.max():g}",
            hint=f"give pictures of {SIDE} x {SIDE} pixels and eight bits, as published: kneeKL224, not kneeKL299",
        )
    plane = planes[0] / np.float32(WHITE) * 2.0 - 1.0
    return np.ascontiguousarray(plane[:, ::-1] if knee.left else plane, dtype=np.float32)
