"""Series as pictures with labels, and a folder that keeps them: decoding takes longer than most trainings.

NumPy refuses pickled objects in a file unless it is asked to take them, and it is not asked here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tamperscope import pictures
from tamperscope.datasets.cases import Group
from tamperscope.datasets.manifest import Entry
from tamperscope.pictures import Grey, PictureSpec
from tamperscope.records import FloatArray
from tamperscope.report.files import replacing

VERSION = 2
"""Of the files in the folder: another one does not find them."""
AUTHENTIC, FORGED, UNSURE = 0, 1, -1
Labels = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One series as pictures."""

    name: str
    forged: bool
    modality: str
    pictures: tuple[Grey, ...]
    """A picture (side, side) a slice."""
    labels: Labels
    """(D): `FORGED`, `AUTHENTIC`, or `UNSURE` for a slice that teaches nothing."""
    boxes: tuple[FloatArray, ...] = ()
    """For each slice float32 (M, 4): where it was changed, see `boxes.around`."""
    patient: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    """See `cases.Case`. These two are not kept: pictures from the folder have none."""


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """The series of a part of a manifest."""

    series: tuple[Shown, ...]

    def of(self, label: int) -> list[tuple[int, int]]:
        """Series and slice number of all slices of this label, in their order."""
        return [(number, int(k)) for number, one in enumerate(self.series) for k in np.flatnonzero(one.labels == label)]

    def unit(self, places: Sequence[tuple[int, int]]) -> FloatArray:
        """The pictures at these places, float32 (N, 1, side, side) of 0 to 1."""
        return pictures.unit(np.stack([self.series[number].pictures[k] for number, k in places]))

    @property
    def modalities(self) -> tuple[str, ...]:
        """All that occur, by name."""
        return tuple(sorted({one.modality for one in self.series}))

    @property
    def counts(self) -> dict[str, int]:
        """Series and slices of each kind."""
        return kinds([one.forged for one in self.series], self.of)


def kinds(forged: Sequence[bool], of: Callable[[int], Sized]) -> dict[str, int]:
    """How many series and slices of each kind there are.

    Args:
        forged: of each series, whether it is.
        of: from a label to all slices that have it.
    """
    return {
        "authentic_series": len(forged) - sum(forged),
        "forged_series": sum(forged),
        "authentic_slices": len(of(AUTHENTIC)),
        "forged_slices": len(of(FORGED)),
        "left_out_slices": len(of(UNSURE)),
    }


def kept(folder: Path, groups: Sequence[Group], spec: PictureSpec, load: Callable[[], Slices]) -> Slices:
    """The pictures of these series from ``folder``; where it has none or a damaged file, from ``load``, for next time.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = folder / f"{_key(groups, spec)}.npz"
    try:
        with path.open("rb") as stream, np.load(stream) as stored:
            return _unpacked(stored)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        found = load()
    with replacing(path) as new:
        np.savez(new, **_packed(found))
    return found


def _key(groups: Sequence[Group], spec: PictureSpec) -> str:
    """Of all that the pictures and the labels depend on."""
    rows = [[_row(entry) for entry in group] for group in groups]
    return hashlib.sha256(json.dumps([VERSION, asdict(spec), rows]).encode()).hexdigest()


def _row(entry: Entry) -> list[object]:
    mask = None if entry.mask is None else [str(entry.mask), entry.mask.stat().st_mtime_ns]
    return [entry.collection, entry.patient, entry.series, entry.sha256, entry.label, entry.places, mask]


def _packed(slices: Slices) -> dict[str, Any]:
    series = slices.series
    return {
        "pictures": np.concatenate([np.stack(one.pictures) for one in series]),
        "labels": np.concatenate([one.labels for one in series]),
        "boxes": np.concatenate([box for one in series for box in one.boxes]),
        "places": np.array([len(box) for one in series for box in one.boxes]),
        "depths": np.array([len(one.labels) for one in series]),
        "forged": np.array([one.forged for one in series]),
        "names": np.array([one.name for one in series]),
        "modalities": np.array([one.modality for one in series]),
    }


def _unpacked(stored: np.lib.npyio.NpzFile) -> Slices:
    borders = np.cumsum(stored["depths"])[:-1]
    seen, labels, places = (np.split(stored[name], borders) for name in ("pictures", "labels", "places"))
    every = iter(np.split(stored["boxes"], np.cumsum(stored["places"])[:-1]))
    about = zip(stored["names"], stored["forged"], stored["modalities"], strict=True)
    return Slices(
        tuple(
            Shown(str(name), bool(forged), str(modality), tuple(each), truths, tuple(next(every) for _ in counts))
            for (name, forged, modality), each, truths, counts in zip(about, seen, labels, places, strict=True)
        )
    )
