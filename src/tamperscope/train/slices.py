"""From the entries of a part to pictures of slices with labels, and balanced batches of them.

entries of a part ─ by_series ─ opened ─▶ a picture a slice (uint8) and its label ─ draw ─▶ batch
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tamperscope import pictures
from tamperscope.datasets import cases
from tamperscope.datasets.cases import Case
from tamperscope.datasets.manifest import Entry, Tick
from tamperscope.errors import InputError
from tamperscope.evaluate.outcomes import CHANGED_VOXELS
from tamperscope.pictures import PictureSpec
from tamperscope.records import FloatArray
from tamperscope.train import boxes, picture_cache
from tamperscope.train.augment import Augmentation
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE, Labels, Shown, Slices


class Batches:
    """Draws as many forged as authentic slices, each slice of a class alike, and augments them."""

    def __init__(self, slices: Slices, augmentation: Augmentation) -> None:
        self.slices, self.augmentation = slices, augmentation
        self._places = {label: slices.of(label) for label in (AUTHENTIC, FORGED)}

    def draw(self, rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
        """Pictures, float32 (count, 1, side, side), and labels, float32 (count, 1), of which half are 1."""
        labels, places = self.choose(rng, count)
        seen = self.slices.unit(places)
        return np.stack([self.augmentation.apply(one, rng) for one in seen]), labels.astype(np.float32)[:, None]

    def choose(self, rng: np.random.Generator, count: int) -> tuple[NDArray[np.int_], list[tuple[int, int]]]:
        """Labels (count), half of them 1, and a place for each; the odd one of an odd count is either."""
        first = int(rng.integers(2)) if count % 2 else 0
        labels = rng.permutation((np.arange(count) + first) % 2)
        return labels, [self._places[label][rng.integers(len(self._places[label]))] for label in labels]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A batch with boxes."""

    pictures: FloatArray
    """float32 (N, 1, side, side) of 0 to 1."""
    boxes: FloatArray
    """float32 (M, 4), those of all pictures one after the other; see `boxes.around`."""
    owners: NDArray[np.int64]
    """(M): the picture that each box lies in."""


class BoxBatches(Batches):
    """Draws slices with their boxes; a mirrored picture has mirrored boxes."""

    def __init__(self, slices: Slices, augmentation: Augmentation) -> None:
        super().__init__(slices, replace(augmentation, flips=False))
        self._flips = augmentation.flips

    def drawn(self, rng: np.random.Generator, count: int) -> Drawn:
        """A batch of ``count`` pictures, half of which have boxes."""
        _, places = self.choose(rng, count)
        seen, found = list(self.slices.unit(places)), [self.slices.series[number].boxes[k] for number, k in places]
        if self._flips:
            turns = rng.integers(0, 2, (count, 2)).astype(bool)
            seen = [
                one[:, :: -1 if down else 1, :: -1 if across else 1]
                for one, (across, down) in zip(seen, turns, strict=True)
            ]
            found = [boxes.mirrored(one, *turn) for one, turn in zip(found, turns, strict=True)]
        changed = np.stack([self.augmentation.apply(one, rng) for one in seen])
        return Drawn(changed, np.concatenate(found), np.repeat(np.arange(count), [len(one) for one in found]))


def load(
    groups: Sequence[cases.Group],
    part: str,
    spec: PictureSpec,
    tick: Tick | None = None,
    most: int | None = None,
    cache: Path | None = None,
) -> Slices:
    """Decode every series of a part into pictures.

    Args:
        groups: the series of the part, see `grouped`.
        part: what messages call it.
        spec: of the pictures.
        tick: told of progress, if given.
        most: series of each label, for a trial, or as many as it takes to find a slice of it; all if None.
        cache: folder that keeps the pictures for the next training on the same files, if given.

    Raises:
        InputError: the part holds slices of one class only; a series or its mask cannot be read.
    """
    if cache is None or most is not None:
        return _load(groups, part, spec, tick, most)
    return picture_cache.kept(cache, groups, spec, lambda: _load(groups, part, spec, tick, None))


def _load(groups: Sequence[cases.Group], part: str, spec: PictureSpec, tick: Tick | None, most: int | None) -> Slices:
    return Slices(tuple(read(groups, part, lambda case: shown(case, spec), tick, most)))


class Labelled(Protocol):
    """A series as a system sees it."""

    @property
    def labels(self) -> Labels:
        """What each slice (D) teaches; see `labels`."""
        ...


One = TypeVar("One", bound=Labelled)


def read(
    groups: Sequence[cases.Group], part: str, make: Callable[[Case], One], tick: Tick | None, most: int | None
) -> list[One]:
    """Open every series of a part and ``make`` of it what a system learns from. Takes and raises what `load` does."""
    found = list[One]()
    for label, name in ((AUTHENTIC, "authentic"), (FORGED, "forged")):
        before = len(found)
        for group in labelled(groups, name):
            if most is not None and len(found) - before >= most and _has(found, label):
                break
            if tick is not None:
                tick(f"reading the part {part}", len(found), len(groups))
            found.append(make(cases.opened(group)))
        if not _has(found, label):
            raise InputError(
                f"the part {part} holds no {name} slice in {len(found)} series",
                hint=f"a slice is forged from {CHANGED_VOXELS} changed voxels of its mask on; give series with masks",
            )
    return found


def _has(found: Sequence[Labelled], label: int) -> bool:
    return any((one.labels == label).any() for one in found)


def grouped(entries: Iterable[Entry], part: str) -> list[cases.Group]:
    """The series of a part.

    Raises:
        InputError: there are none, or all of them have one label.
    """
    groups = [group for group in cases.by_series(entries) if group[0].part == part]
    if not groups:
        raise InputError(
            f"the manifest holds no series in the part {part}",
            hint="split it by patient into train, calibrate and test (tamperscope datasets manifest)",
        )
    for label in ("authentic", "forged"):
        if not labelled(groups, label):
            raise InputError(
                f"no series of the part {part} is {label}: nothing tells the two classes apart",
                hint="give a manifest with authentic and forged series in every part",
            )
    return groups


def labelled(groups: Sequence[cases.Group], label: str) -> list[cases.Group]:
    """Those of this label."""
    return [group for group in groups if group[0].label == label]


def shown(case: Case, spec: PictureSpec) -> Shown:
    """A series as pictures."""
    modality = case.volume.modality
    made = tuple(pictures.grey(plane, modality, spec) for plane in pictures.planes(case.volume))
    return Shown(
        case.name, case.forged, modality, made, labels(case), boxes.of(case), patient=case.patient, groups=case.groups
    )


def labels(case: Case) -> Labels:
    """What each slice of a series teaches.

    A slice of a forged series is forged from 16 changed voxels on, authentic without any, and unsure between the two.
    Where nobody says which voxels were changed, a single picture is forged as a whole; in a longer series the slices
    of the stated places are, and all others are unsure.
    """
    depth = case.volume.shape[0]
    if not case.forged:
        return np.full(depth, AUTHENTIC, np.int8)
    if case.mask is not None:
        changed = case.mask.sum(axis=(1, 2))
        return np.where(changed >= CHANGED_VOXELS, FORGED, np.where(changed == 0, AUTHENTIC, UNSURE)).astype(np.int8)
    if depth == 1:
        return np.full(1, FORGED, np.int8)
    found = np.full(depth, UNSURE, np.int8)
    found[[k for k, _, _ in case.places if 0 <= k < depth]] = FORGED
    return found
