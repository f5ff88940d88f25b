"""A manifest in which every slice is a series of its own, as the literature divides scans.

    manifest ─ by_series ─▶ forged slices, evenly spread ─┬─▶ parts of the patients, or shuffled over slices
                            authentic slices of the same ─┘   ─▶ DIR/manifest.csv, DIR/masks/*.png

With the parts shuffled over slices, neighbours and twins of what was trained on are in the test. The same model,
trained and judged on both manifests, says what that is worth. Where a patient has slices of both labels, to know the
patient does not tell the label; published sets mostly have forged slices of some patients and authentic ones of others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from tamperscope import study, writers
from tamperscope.datasets import cases, images, join, table
from tamperscope.datasets.cases import Group
from tamperscope.datasets.manifest import Entry, Place, Tick, digested, file_digest
from tamperscope.decode import decode
from tamperscope.errors import InputError, UnreadableError, UsageError
from tamperscope.evaluate.outcomes import CHANGED_VOXELS
from tamperscope.records import FloatArray, MaskArray
from tamperscope.report.files import save
from tamperscope.writers import Mark

By: TypeAlias = Literal["patient", "slice"]
WAYS: tuple[By, ...] = get_args(By)
TABLE, MASKS, EXTRACTED = "manifest.csv", "masks", "slices"
WHITE = 255
REMEMBERED = 256
"""Decoded slices: where each is a series already, the same few are held against one another again and again."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One series and where its slices lie; no pixel is decoded."""

    group: Group
    files: tuple[Path, ...]
    """Of each slice, from the first to the last; of a file with several slices that file again and again."""
    size: tuple[int, int]
    """Rows and columns."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return len(self.files), *self.size

    def plane(self, k: int) -> FloatArray:
        """Slice ``k``, float32 (H, W), colour as luminance."""
        return _plane(self.files[k], k - self.files.index(self.files[k]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was chosen."""

    entries: tuple[Entry, ...]
    lacking: int
    """Forged slices for which the patient has no authentic slice left."""


def make(
    manifest: Path,
    out: Path,
    *,
    by: By = "patient",
    most: int | None = None,
    one_label: bool = False,
    seed: int = 0,
    tick: Tick | None = None,
) -> Outcome:
    """Choose slices, and write the manifest of them.

    A slice is forged from 16 changed voxels on. For each, an authentic slice of the same patient is taken: the same
    slice of the pristine twin if that is still free, else of another authentic series of the patient, else the nearest
    free one. Files of one slice stay where they are; slices of other files are extracted.

    Args:
        manifest: with masks for its forged series, divided into parts.
        out: a new or empty folder.
        by: "patient" keeps the parts; "slice" shuffles them over the slices of one label and generator, so that as
            many of each are in each part as before, and a generator that was held out stays so.
        most: forged slices of a series, spread evenly; all if None.
        one_label: keep the forged slices of half of the patients of each part, and the authentic ones of the others.
        seed: of the shuffle, and of whose forged slices are kept.
        tick: told of progress, if given.

    Raises:
        UsageError: an unknown way, no parts, a folder that holds something, or one that cannot be written.
        InputError: a series cannot be read, a forged one has no mask, or one class is missing.
    """
    if by not in WAYS:
        raise UsageError(f"unknown split by {by!r}", hint=f"one of {', '.join(WAYS)}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", hint="choose a new folder")
    listed = join.read([manifest])[0].entries
    if any(not entry.part for entry in listed):
        raise UsageError(
            f"{manifest} has rows without a part", hint="divide it first: `tamperscope datasets manifest manifest`"
        )
    chosen, lacking = list[Entry](), 0
    patients = _by_patient(cases.by_series(listed))
    for number, groups in enumerate(patients):
        if tick is not None:
            tick("choosing slices", number, len(patients))
        found, short = _of_patient(groups, out, most)
        chosen += found
        lacking += short
    if one_label:
        chosen, lacking = halved(chosen, seed), 0
    _check_classes(chosen)
    divided = chosen if by == "patient" else shuffled(chosen, seed)
    real, root = join.rooted(digested(divided, tick), out)
    table.write(
        out / TABLE, real, root, {"dataset": "slices", "split": by, "seed": seed, "most": most, "one_label": one_label}
    )
    return Outcome(real, lacking)


def spread(slices: Sequence[int], most: int | None) -> list[int]:
    """At most ``most`` of them at even distances; a single one is the middle."""
    if most is None or len(slices) <= most:
        return list(slices)
    at = (np.arange(most) + 0.5) * len(slices) / most
    return [slices[int(index)] for index in at]


def shuffled(chosen: Sequence[Entry], seed: int) -> list[Entry]:
    """The same slices with the parts of those of one label and generator dealt among them anew."""
    rng = np.random.default_rng(seed)
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, entry in enumerate(chosen):
        kinds[entry.label, entry.generator].append(number)
    parts = [entry.part for entry in chosen]
    for kind in sorted(kinds):
        members = kinds[kind]
        dealt = [parts[members[index]] for index in rng.permutation(len(members))]
        for number, part in zip(members, dealt, strict=True):
            parts[number] = part
    return [replace(entry, part=part) for entry, part in zip(chosen, parts, strict=True)]


def halved(chosen: Sequence[Entry], seed: int) -> list[Entry]:
    """The forged slices of every second patient of a part, and the authentic ones of those between them.

    A patient who lacks the slices that are asked of him is left out.
    """
    rng = np.random.default_rng(seed)
    patients: dict[str, list[str]] = defaultdict(list)
    for part, patient in sorted({(entry.part, entry.patient) for entry in chosen}):
        patients[part].append(patient)
    kept = {
        (part, patient, ("forged", "authentic")[place % 2])
        for part in sorted(patients)
        for place, patient in enumerate(rng.permutation(patients[part]))
    }
    return [entry for entry in chosen if (entry.part, entry.patient, entry.label) in kept]


def _by_patient(groups: Sequence[Group]) -> list[list[Group]]:
    found: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        found[group[0].patient].append(group)
    return [found[patient] for patient in sorted(found)]


def _check_classes(chosen: Sequence[Entry]) -> None:
    labels = {entry.label for entry in chosen}
    for label in ("forged", "authentic"):
        if label not in labels:
            raise InputError(
                f"no {label} slice",
                hint=f"give a manifest with both classes; a slice is forged from {CHANGED_VOXELS} changed voxels on",
            )


# --- one patient ---


@lru_cache(maxsize=REMEMBERED)
def _plane(file: Path, number: int) -> FloatArray:
    return np.array(images.planes(file)[number])  # a copy: what is remembered must not hold the file's other slices


def _of_patient(groups: Sequence[Group], out: Path, most: int | None) -> tuple[list[Entry], int]:
    """The slices of one patient, and for how many forged ones no authentic one is left."""
    authentic = [_scan(group) for group in groups if group[0].label == "authentic"]
    taken: set[tuple[int, int]] = set()
    chosen, lacking = list[Entry](), 0
    for scan in (_scan(group) for group in groups if group[0].label == "forged"):
        mask = _mask(scan)
        slices = spread([int(k) for k in np.flatnonzero(mask.sum(axis=(1, 2)) >= CHANGED_VOXELS)], most)
        likeness = _likeness(scan, slices[0], mask, authentic) if slices else []
        for k in slices:
            chosen.append(_forged(scan, k, mask[k], out))
            partner = next((one for one in _partners(scan, k, authentic, likeness) if one not in taken), None)
            if partner is None:
                lacking += 1
                continue
            taken.add(partner)
            chosen.append(_row(authentic[partner[0]], partner[1], out))
    return chosen, lacking


def _scan(group: Group) -> Scan:
    """Read the headers of a series, and the pixels where its headers do not tell how many slices it has."""
    reading = study.read([entry.path for entry in group])
    if reading.failed:
        raise UnreadableError(f"{reading.failed[0].source}: {reading.failed[0].error}", hint=reading.failed[0].hint)
    found = [series for one in reading.studies for series in one.series]
    if len(found) != 1:
        raise InputError(
            f"{cases.name_of(group[0])} is {len(found)} series, not one", hint="give each series its own name"
        )
    files = [Path(instance.source) for instance in found[0].instances]
    first = images.planes(files[0])
    slices = [file for file in files for _ in range(1 if len(files) > 1 else len(first))]
    return Scan(group, tuple(slices), first.shape[1:])


def _mask(scan: Scan) -> MaskArray:
    """(D, H, W) of a forged series: one mask for all of it, or one for each of its files.

    Raises:
        InputError: a mask is missing, or lies on another grid.
    """
    masks = {entry.path: entry.mask for entry in scan.group}
    name = cases.name_of(scan.group[0])
    if None in masks.values():
        raise InputError(f"{name} is forged and has no mask", hint="a mask has to say which of its slices are")
    paths = dict.fromkeys(str(masks[file]) for file in scan.files)
    sparse = replace(study.DEFAULT_LIMITS, max_pixels=int(np.prod(scan.shape)), max_ratio=1_000_000)
    found = np.concatenate([images.planes(Path(path), sparse) > 0 for path in paths])
    if found.shape != scan.shape:
        raise InputError(
            f"{name} has the shape {scan.shape}, its mask {found.shape}",
            hint="the mask lies on the grid of the series, one slice a slice",
        )
    return np.asarray(found)


def _likeness(scan: Scan, k: int, mask: MaskArray, authentic: Sequence[Scan]) -> list[tuple[bool, float]]:
    """How near each authentic series is to the forged one, by slice ``k`` outside of the mask: its twin is at 0."""
    plane, outside = scan.plane(k), ~mask[k]
    found = []
    for other in authentic:
        same = other.shape == scan.shape
        difference = float(np.abs(other.plane(k) - plane)[outside].mean()) if same and outside.any() else 0.0
        found.append((not same, difference))
    return found


def _partners(
    scan: Scan, k: int, authentic: Sequence[Scan], likeness: Sequence[tuple[bool, float]]
) -> Iterator[tuple[int, int]]:
    """Authentic slices (series, slice), the one that suits slice ``k`` best first."""
    order = sorted(range(len(authentic)), key=lambda number: likeness[number])
    yield from ((number, k) for number in order if not likeness[number][0])
    for number in order:
        depth = len(authentic[number].files)
        near = (k + 0.5) * depth / scan.shape[0] - 0.5
        yield from ((number, index) for index in sorted(range(depth), key=lambda index: abs(index - near)))


# --- rows ---


def _forged(scan: Scan, k: int, changed: MaskArray, out: Path) -> Entry:
    """The row of a forged slice, and its mask as a picture beside the manifest."""
    row = _row(scan, k, out)
    path = out / MASKS / f"{'-'.join(cases.name_of(row).split('/'))}.png"
    stream = BytesIO()
    Image.fromarray(np.asarray(changed * np.uint8(WHITE), dtype=np.uint8)).save(stream, "PNG")
    save(path, stream.getvalue())
    return replace(row, mask=path, places=_places(scan.group, changed))


def _places(group: Group, changed: MaskArray) -> tuple[Place, ...]:
    """(row, column) of the stated places that lie within what was changed in this slice, seen along the slices."""
    rows, columns = np.nonzero(changed)
    stated = dict.fromkeys((place[-2], place[-1]) for entry in group for place in entry.places)
    return tuple(
        (row, column)
        for row, column in stated
        if rows.min() <= row <= rows.max() and columns.min() <= column <= columns.max()
    )


def _row(scan: Scan, k: int, out: Path) -> Entry:
    """The row of a slice as a series of its own: its file where it lies, or one that is extracted."""
    entries = {entry.path: entry for entry in scan.group}
    entry = entries[scan.files[k]]
    series = f"{entry.series or entry.path.stem}/{k:04d}" if len(scan.files) > 1 else entry.series
    if scan.files.count(scan.files[k]) == 1:
        return replace(entry, series=series, mask=None, places=())
    path = _extracted(scan, k, out / EXTRACTED / entry.patient / series)
    return replace(entry, path=path, sha256=file_digest(path), series=series, mask=None, places=())


def _extracted(scan: Scan, k: int, folder: Path) -> Path:
    """Slice ``k`` of a file that holds several, written in its own format and marked as made by this program."""
    entry = scan.group[0]
    (series,) = (series for one in study.read(scan.files[k]).studies for series in one.series)
    volume = decode(series)
    mark = Mark("slices", entry.sha256, "forged" if entry.label == "forged" else "benign")
    return writers.write(series, volume, volume.slab(k, k + 1), folder, f"{k:04d}", mark).files[0]
