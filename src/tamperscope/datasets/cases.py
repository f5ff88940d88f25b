"""Series of a manifest with their truth: what a model is trained on, and what it is judged by.

entries (one a file) ─ by_series ─▶ groups ─ opened ─▶ Case (volume, mask, places, groups)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tamperscope import study
from tamperscope.datasets.images import planes
from tamperscope.datasets.manifest import Entry, Place
from tamperscope.decode import decode
from tamperscope.errors import InputError, UnreadableError
from tamperscope.records import MaskArray, Volume

Group: TypeAlias = tuple[Entry, ...]
UNKNOWN = "unknown"
THICKNESS_MM = (1.5, 3.0)
"""Borders between thin, medium and thick slices: what reconstruction protocols of the chest come in."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One series and its truth."""

    name: str
    """Collection, patient and series, as the manifest has them: unique in it."""
    patient: str
    forged: bool
    volume: Volume
    mask: MaskArray | None
    """(D, H, W), true where a voxel was changed: nowhere in an authentic series, None where nobody says where."""
    places: tuple[tuple[int, int, int], ...]
    """Centres (k, j, i) of the forgeries, as far as they are stated."""
    groups: Mapping[str, str]
    """What results are broken down by: generator, scanner, kernel, thickness, modality, collection."""


def by_series(entries: Iterable[Entry]) -> tuple[Group, ...]:
    """Entries that belong to one series together, in their order; a picture without a series stands alone.

    Raises:
        InputError: two files of one series have different labels or parts.
    """
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        alone = () if entry.series else (str(entry.path),)
        found.setdefault((entry.collection, entry.patient, entry.series, *alone), []).append(entry)
    for group in found.values():
        if len({(entry.label, entry.part) for entry in group}) > 1:
            raise InputError(
                f"series {name_of(group[0])} has files with different labels or parts",
                hint="the label and the part are those of the whole series",
            )
    return tuple(tuple(group) for group in found.values())


def name_of(entry: Entry) -> str:
    """What the series of an entry is called."""
    return "/".join(part for part in (entry.collection, entry.patient, entry.series or entry.path.name) if part)


def opened(group: Group) -> Case:
    """Decode a series and read its truth.

    Raises:
        InputError: a file or mask cannot be read, holds several series, or the mask has another size.
    """
    first = group[0]
    volume = _volume(group)
    forged = first.label == "forged"
    mask = _mask(group, volume) if forged else np.zeros(volume.shape, dtype=bool)
    return Case(name_of(first), first.patient, forged, volume, mask, _places(group, volume), groups_of(first, volume))


def groups_of(entry: Entry, volume: Volume) -> dict[str, str]:
    """What a result on this series counts for; what nobody states is "unknown", and "none" made what is authentic."""
    kernel = volume.header.get("kernel")
    return {
        "generator": entry.generator or (UNKNOWN if entry.label == "forged" else "none"),
        "scanner": entry.scanner or UNKNOWN,
        "kernel": str(kernel) if kernel else UNKNOWN,
        "thickness": _thickness(volume),
        "modality": volume.modality,
        "collection": entry.collection or UNKNOWN,
    }


def _thickness(volume: Volume) -> str:
    stated = volume.header.get("slice_thickness_mm")
    if volume.modality not in ("CT", "MR") or not isinstance(stated, int | float):
        return UNKNOWN
    thin, thick = THICKNESS_MM
    return f"below {thin} mm" if stated < thin else f"{thin} to {thick} mm" if stated <= thick else f"above {thick} mm"


def _volume(group: Group) -> Volume:
    reading = study.read([entry.path for entry in group])
    if reading.failed:
        failure = reading.failed[0]
        raise UnreadableError(f"{failure.source}: {failure.error}", hint=failure.hint)
    every = [series for one in reading.studies for series in one.series]
    if len(every) != 1:
        raise InputError(
            f"{name_of(group[0])} is {len(every)} series, not one", hint="give each series its own name in the manifest"
        )
    volume = decode(every[0])
    return replace(volume, modality=group[0].modality) if volume.format != "dicom" and group[0].modality else volume


def _mask(group: Group, volume: Volume) -> MaskArray | None:
    """The mask of the series, or those of its files one over the other; None where one is missing."""
    paths = {entry.mask for entry in group}
    if None in paths:
        return None
    if len(paths) == 1:
        found = planes(Path(str(paths.pop())), _sparse(volume)) > 0
    else:
        masks = {str(entry.path): entry.mask for entry in group}
        limits = _sparse(volume)
        found = np.concatenate([planes(Path(str(masks[source])), limits) > 0 for source in volume.sources])
    if found.shape != volume.shape:
        raise InputError(
            f"{name_of(group[0])} has the shape {volume.shape}, its mask {found.shape}",
            hint="the mask lies on the grid of the series, one slice a slice",
        )
    return np.asarray(found)


def _sparse(volume: Volume) -> study.Limits:
    """Limits for the mask of a volume: nearly all of it is zero, so it packs better than any honest picture does."""
    return replace(study.DEFAULT_LIMITS, max_pixels=int(np.prod(volume.shape)), max_ratio=1_000_000)


def _places(group: Group, volume: Volume) -> tuple[tuple[int, int, int], ...]:
    """Stated places as (k, j, i); those of a single file, (row, column), lie in the slice that the file is."""
    found: dict[tuple[int, int, int], None] = {}
    for entry in group:
        for place in entry.places:
            found[_index(place, entry, volume.sources)] = None
    return tuple(found)


def _index(place: Place, entry: Entry, sources: Sequence[str]) -> tuple[int, int, int]:
    if len(place) == 3:
        return place[0], place[1], place[2]
    return (sources.index(str(entry.path)) if str(entry.path) in sources else 0), place[0], place[1]
