"""From the entries of a part to regions of slices in their own pixels: where a forgery and its original differ.

patient ─ opened ─▶ authentic series, forged series ─ twin_of ─▶ crops round changed voxels, and of the twin
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tamperscope import pictures
from tamperscope.datasets import cases
from tamperscope.datasets.cases import Case, Group
from tamperscope.datasets.manifest import Tick
from tamperscope.errors import InputError
from tamperscope.evaluate.audit import twin_of
from tamperscope.evaluate.outcomes import CHANGED_VOXELS
from tamperscope.evaluate.systems.regions import around, inside
from tamperscope.pictures import Grey

Place = tuple[int, int, int]
"""Index (k, j, i)."""


@dataclass(slots=True, eq=False)
class Regions:
    """Crops (side, side) of 8-bit slices, and how many series they are from."""

    side: int
    window_hu: tuple[float, float]
    each: int = 1
    """Regions a slice and kind."""
    authentic: list[Grey] = field(default_factory=list)
    forged: list[Grey] = field(default_factory=list)
    series: dict[str, int] = field(default_factory=lambda: {"authentic_series": 0, "forged_series": 0})
    modalities: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Series and regions of each kind."""
        return {**self.series, "authentic_regions": len(self.authentic), "forged_regions": len(self.forged)}

    def add(self, case: Case, places: Sequence[Place], *, forged: bool) -> None:
        """Cut the regions round these places of a case."""
        wanted = {k for k, _, _ in places}
        shown = {
            k: pictures.native(plane, case.volume.modality, self.window_hu)
            for k, plane in enumerate(pictures.planes(case.volume))
            if k in wanted
        }
        kept = self.forged if forged else self.authentic
        kept += [around(shown[k], row, column, self.side).copy() for k, row, column in places]

    def count(self, case: Case) -> None:
        """Note that a series was read."""
        self.series["forged_series" if case.forged else "authentic_series"] += 1
        self.modalities = tuple(sorted({*self.modalities, case.volume.modality}))


def load(
    groups: Sequence[Group],
    part: str,
    regions: Regions,
    rng: np.random.Generator,
    tick: Tick | None = None,
    most: int | None = None,
) -> Regions:
    """Fill ``regions`` from the series of a part.

    A forged slice gives ``regions.each`` round changed voxels that are drawn, and its twin those of the same places.
    Every slice of an authentic series gives as many of places in the body that are drawn too, since all of the body is
    looked at later.

    Args:
        groups: the series of the part, see `slices.grouped`.
        part: what messages call it.
        regions: what is filled.
        rng: draws the places.
        tick: told of progress, if given.
        most: series of each label after which no other patient is read, for a trial; all if None.

    Raises:
        InputError: no forged series says where it was changed; a series or its mask cannot be read.
    """
    for patient in _patients(groups):
        if most is not None and regions.forged and min(regions.series.values()) >= most:
            break
        pristine = list[Case]()
        for group in sorted(patient, key=lambda group: group[0].label == "forged"):
            if tick is not None:
                tick(f"reading the part {part}", sum(regions.series.values()), len(groups))
            case = cases.opened(group)
            regions.count(case)
            if case.forged:
                _changed(case, pristine, regions, rng)
            else:
                pristine.append(case)
                regions.add(case, list(_anywhere(case, regions.each, rng)), forged=False)
    if not regions.forged:
        raise InputError(
            f"no forged series of the part {part} says where it was changed",
            hint=f"give masks of {CHANGED_VOXELS} voxels a slice or more, or places; or look at pixels",
        )
    return regions


def changed_places(case: Case, each: int, rng: np.random.Generator) -> Iterator[Place]:
    """Changed voxels of each forged slice, drawn; the stated places where nobody says which voxels those are."""
    depth, height, width = case.volume.shape
    if case.mask is None:
        within = (place for place in case.places if place[0] in range(depth))
        yield from ((k, min(max(row, 0), height - 1), min(max(column, 0), width - 1)) for k, row, column in within)
        return
    for k, changed in enumerate(case.mask):
        at = np.flatnonzero(changed)
        if len(at) >= CHANGED_VOXELS:
            yield from ((k, *divmod(int(one), width)) for one in rng.choice(at, each))


def _changed(case: Case, pristine: Sequence[Case], regions: Regions, rng: np.random.Generator) -> None:
    places = list(changed_places(case, regions.each, rng))
    regions.add(case, places, forged=True)
    twin = twin_of(case, pristine)
    if twin is not None:
        regions.add(twin, places, forged=False)


def _anywhere(case: Case, each: int, rng: np.random.Generator) -> Iterator[Place]:
    """Places in the body of each slice, drawn."""
    for k, plane in enumerate(pictures.planes(case.volume)):
        at = np.flatnonzero(inside(plane, case.volume.modality))
        yield from ((k, *divmod(int(one), plane.shape[1])) for one in rng.choice(at, each))


def _patients(groups: Sequence[Group]) -> list[list[Group]]:
    """The series of each patient, in their order."""
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        found.setdefault((group[0].collection, group[0].patient), []).append(group)
    return list(found.values())
