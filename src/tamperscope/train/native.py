"""The series of a part at native size in memory, and crops of them, for systems that look at untouched pixels.

groups of a part ─ opened ─▶ some slices each (uint16), the patient's place in them, what was changed ─ crop ─▶ batch
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamperscope import anatomy, pictures
from tamperscope.datasets import cases
from tamperscope.datasets.cases import Case, Group
from tamperscope.datasets.manifest import Tick
from tamperscope.evaluate.systems import native
from tamperscope.records import FloatArray, MaskArray
from tamperscope.train import slices
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE, kinds

LEVELS = 2**16 - 1
"""Steps in which values are kept: of a window of 1400 HU, 0.02 HU each."""
LABELS = ((AUTHENTIC, "authentic"), (FORGED, "forged"))
Judged = Callable[[FloatArray, str], MaskArray]
"""Where a slice is looked at: `native.inside` or `native.lungs`."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is kept of a series."""

    window_hu: tuple[float, float]
    most: int
    """Slices."""
    spread: float = 0.5
    """Share of them that lie anywhere in a long series; the others lie round the stated forgeries of its patient."""
    judged: Judged = native.inside
    masks: bool = True
    """Whether what was changed may be known."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice of a series."""

    key: tuple[str, int, tuple[int, ...]]
    """Patient, number in the series and size: twins share it."""
    label: int
    """As `slices.labels` says; `picture_cache.UNSURE` for slices of forged series where masks are not to be known."""
    values: NDArray[np.uint16]
    """(H, W), 0 to `LEVELS`."""
    judged: MaskArray
    """(ceil(H / 4), ceil(W / 4)): where it is looked at."""
    corner: tuple[int, int]
    """First row and column of the box round what was changed."""
    changed: MaskArray
    """What was changed in that box; empty if nothing was."""


@dataclass(frozen=True, slots=True, eq=False)
class Native:
    """One series."""

    name: str
    forged: bool
    modality: str
    planes: tuple[Plane, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The series of a part of a manifest."""

    series: tuple[Native, ...]

    def of(self, label: int) -> list[Plane]:
        """All slices of this label, in their order."""
        return [plane for one in self.series for plane in one.planes if plane.label == label]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All that occur, by name."""
        return tuple(sorted({one.modality for one in self.series}))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        every = (plane for one in self.series for plane in one.planes)
        return sum(plane.values.nbytes + plane.judged.nbytes + plane.changed.nbytes for plane in every)

    @property
    def counts(self) -> dict[str, int]:
        """Series and slices of each kind; see `slices.Slices.counts`."""
        return kinds([one.forged for one in self.series], self.of)


def load(groups: Sequence[Group], part: str, spec: Spec, tick: Tick | None = None, most: int | None = None) -> Part:
    """Read the series of a part.

    Args:
        groups: the series, see `slices.grouped`.
        part: what messages call it.
        spec: what is kept of them.
        tick: told of progress, if given.
        most: series of each label, for a trial; all if None.

    Raises:
        InputError: a series or its mask cannot be read.
    """
    known, found = stated(groups), list[Native]()
    for _, label in LABELS:
        for group in slices.labelled(groups, label)[:most]:
            if tick is not None:
                tick(f"reading the part {part}", len(found), len(groups))
            case = cases.opened(group)
            found.append(kept(case, spec, known[case.patient]))
    return Part(tuple(found))


def stated(groups: Iterable[Group]) -> Mapping[str, set[int]]:
    """The slices of each patient in which forgeries are said to lie, whatever series they are in."""
    found = defaultdict[str, set[int]](set)
    for group in groups:
        found[group[0].patient] |= {place[0] for entry in group for place in entry.places if len(place) == 3}
    return found


def kept(case: Case, spec: Spec, stated: Iterable[int] = ()) -> Native:
    """What ``spec`` keeps of a series, whose patient has forgeries in the ``stated`` slices."""
    volume, labels = case.volume, slices.labels(case)
    changed = case.mask if spec.masks else None
    near = {k for k, _, _ in case.places} or set(stated)
    if changed is not None and case.forged:
        near = set(np.flatnonzero(labels == FORGED).tolist()) or near
    chosen = set(choose(volume.shape[0], near, spec))
    planes = []
    for k, values in enumerate(pictures.planes(volume)):
        if k not in chosen:
            continue
        corner, box = _boxed(np.zeros(values.shape, dtype=bool) if changed is None else changed[k])
        planes.append(
            Plane(
                key=(case.patient, k, values.shape),
                label=UNSURE if case.forged and changed is None else int(labels[k]),
                values=np.rint(native.unit(values, volume.modality, spec.window_hu) * LEVELS).astype(np.uint16),
                judged=spec.judged(values, volume.modality).copy(),
                corner=corner,
                changed=box,
            )
        )
    return Native(case.name, case.forged, volume.modality, tuple(planes))


def choose(depth: int, near: Iterable[int], spec: Spec) -> list[int]:
    """Which slices of a series of this depth are kept: the nearest to those of ``near``, others evenly spread."""
    if depth <= spec.most:
        return list(range(depth))
    every, marks = np.arange(depth), np.array(sorted(near), dtype=int)
    beside = spec.most if not marks.size else round(spec.spread * spec.most)
    distance = np.abs(every[:, None] - marks).min(axis=1) if marks.size else every
    first = np.argsort(distance, kind="stable")[: spec.most - beside]
    others = np.setdiff1d(every, first)
    rest = others[np.linspace(0, len(others) - 1, beside).round().astype(int)] if beside else others[:0]
    return sorted({*first.tolist(), *rest.tolist()})


def crop(plane: Plane, centre: tuple[int, int], side: int) -> tuple[FloatArray, MaskArray]:
    """Values float32 of 0 to 1 and what was changed, both (side, side), as near round a pixel as the slice allows.

    Where the slice is smaller, its last row and column are repeated.
    """
    top, left = (max(0, min(at - side // 2, size - side)) for at, size in zip(centre, plane.values.shape, strict=True))
    seen = plane.values[top : top + side, left : left + side]
    values = native.padded(seen.astype(np.float32) * np.float32(1.0 / LEVELS), side, side)
    changed = np.zeros((side, side), dtype=bool)
    down, across = plane.corner[0] - top, plane.corner[1] - left
    height, width = plane.changed.shape
    rows, columns = slice(max(down, 0), max(down + height, 0)), slice(max(across, 0), max(across + width, 0))
    part = plane.changed[max(-down, 0) :, max(-across, 0) :]
    target = changed[rows, columns]
    target[...] = part[: target.shape[0], : target.shape[1]]
    return values, changed


def altered(plane: Plane, rng: np.random.Generator) -> tuple[int, int]:
    """A changed pixel (row, column)."""
    rows, columns = np.nonzero(plane.changed)
    number = int(rng.integers(len(rows)))
    return plane.corner[0] + int(rows[number]), plane.corner[1] + int(columns[number])


def anywhere(plane: Plane, rng: np.random.Generator) -> tuple[int, int]:
    """A pixel (row, column) where the slice is looked at."""
    rows, columns = np.nonzero(plane.judged)
    number = int(rng.integers(len(rows)))
    return anatomy.STEP * int(rows[number]), anatomy.STEP * int(columns[number])


def turned(arrays: Sequence[NDArray[np.generic]], rng: np.random.Generator) -> list[NDArray[np.generic]]:
    """The same arrays (..., S, S), all mirrored and turned by right angles in one of the eight ways: no resampling."""
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    found = [np.rot90(one, quarters, axes=(-2, -1)) for one in arrays]
    return [one[..., ::-1] if mirrored else one for one in found]


def _boxed(changed: MaskArray) -> tuple[tuple[int, int], MaskArray]:
    """The first corner and the inside of the box round what is true."""
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return (0, 0), np.zeros((0, 0), dtype=bool)
    top, left = int(rows[0]), int(columns[0])
    return (top, left), changed[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1].copy()
