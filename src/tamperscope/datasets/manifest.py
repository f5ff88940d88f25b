"""Which file belongs to which patient, with its digest, and which part of a split it is in."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from tamperscope.errors import InputError, UnreadableError

Part = Literal["train", "calibrate", "test"]
PARTS: tuple[Part, ...] = ("train", "calibrate", "test")
Truth = Literal["authentic", "forged"]
Place: TypeAlias = tuple[int, ...]
Tick: TypeAlias = Callable[[str, int, int], None]
"""What is being done, how many are done, and of how many: what a progress bar takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a data set."""

    path: Path
    collection: str
    patient: str
    series: str
    """Folder of the series below the patient, or empty."""
    sha256: str
    """Of the file's bytes, hexadecimal; empty until `digested`."""
    label: Truth = "authentic"
    """Of the whole series or picture that the file belongs to; ``places`` and ``mask`` say where in it."""
    generator: str = ""
    """What made the forgery; empty for authentic ones, and where nobody says."""
    mask: Path | None = None
    """What was changed, zero where nothing was: a picture of this file's size, or a NIfTI of the whole series."""
    places: tuple[Place, ...] = ()
    """Centres of forgeries: (k, j, i) in the series, or (row, column) in this file."""
    modality: str = ""
    scanner: str = ""
    """Manufacturer and model, where the file can be believed; else empty."""
    grade: str = ""
    """Severity of a disease as the set states it."""
    part: str = ""
    """Part of the split: as it was published, or as a manifest says; empty for none."""


def digest(entries: Iterable[Entry]) -> str:
    """One SHA-256 over the digests of all files, in any order: what a Card states of its training data."""
    return hashlib.sha256("\n".join(sorted(entry.sha256 for entry in entries)).encode()).hexdigest()


def full_digest(entries: Iterable[Entry]) -> str:
    """One SHA-256 over the digests of all files and their masks and all that is said of them, in any order.

    Where the files lie does not matter. Two manifests that differ in a label, a part or a mask differ here.
    """
    rows, listed = [], list(entries)
    # One mask may be that of all slices of a series.
    masks = {path: _digest_or_none(path) for path in {entry.mask for entry in listed} if path is not None}
    for entry in listed:
        said = {key: value for key, value in asdict(entry).items() if key not in ("path", "mask")}
        rows.append(json.dumps({**said, "mask": None if entry.mask is None else masks[entry.mask]}))
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _digest_or_none(path: Path) -> str:
    """A mask that cannot be read is told of where it is needed."""
    try:
        return file_digest(path)
    except UnreadableError:
        return ""


def to_csv(entries: Iterable[Entry], parts: Mapping[str, Part]) -> str:
    """Collection, patient, series, file name, digest and part of each file; no path of this machine."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["collection", "patient", "series", "file", "sha256", "part"])
    for entry in entries:
        part = parts.get(entry.patient, "")
        writer.writerow([entry.collection, entry.patient, entry.series, entry.path.name, entry.sha256, part])
    return out.getvalue()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}", hint="check the folder") from error


def digested(entries: Iterable[Entry], tick: Tick | None = None) -> tuple[Entry, ...]:
    """The same entries with the digests of their files; a file that stands twice is read once.

    Raises:
        UnreadableError: a file cannot be read.
    """
    known, listed = dict[Path, str](), tuple(entries)
    for number, entry in enumerate(listed):
        if tick is not None:
            tick("reading files", number, len(listed))
        if entry.path not in known:
            known[entry.path] = file_digest(entry.path)
    return tuple(replace(entry, sha256=known[entry.path]) for entry in listed)


def by_rotation(patients: Iterable[str], rotation: tuple[Part, ...]) -> dict[str, Part]:
    """Patients in order of their names, dealt out in turn: the same names always give the same parts."""
    return {patient: rotation[number % len(rotation)] for number, patient in enumerate(sorted(set(patients)))}


def placed(entries: Iterable[Entry], parts: Mapping[str, Part]) -> tuple[Entry, ...]:
    """The same entries, each in the part of its patient."""
    return tuple(replace(entry, part=parts.get(entry.patient, "")) for entry in entries)


def check_disjoint(entries: Iterable[Entry], parts: Mapping[str, Part]) -> None:
    """Make sure that no file (by digest) lies in two parts.

    Raises:
        InputError: the same picture is filed under two patients of different parts.
    """
    seen: dict[str, tuple[str, str]] = {}
    for entry in entries:
        part = parts.get(entry.patient, "")
        patient, before = seen.setdefault(entry.sha256, (entry.patient, part))
        if part != before:
            raise InputError(
                f"{entry.path.name} is filed under {patient} ({before}) and {entry.patient} ({part})",
                hint="put both patients into one part",
            )


def read_split(path: Path, entries: Iterable[Entry]) -> dict[str, Part]:
    """The part of every patient, see `dealt`; no picture may lie in two.

    Raises:
        InputError: see `dealt`, or a picture in two parts.
    """
    known = tuple(entries)
    parts = dealt(path, {entry.patient for entry in known})
    check_disjoint(known, parts)
    return parts


def dealt(path: Path, patients: Iterable[str]) -> dict[str, Part]:
    """The part of every patient, from a JSON file: lists for those placed by hand, a rotation for all others.

    Raises:
        InputError: the file is no such split, or a patient stands in two lists or in none.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        placed = [(patient, part) for part in PARTS for patient in tree[part]]
        rotation = tuple(PARTS[PARTS.index(part)] for part in tree["rotation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"{path} is no split: {error}", hint="lists train, calibrate, test, and rotation"
        ) from error
    by_hand = dict(placed)
    if len(by_hand) != len(placed):
        raise InputError(f"{path} names a patient in two parts", hint="leave each patient in one")
    others = set(patients) - by_hand.keys()
    if others and not rotation:
        raise InputError(f"{path} places no {min(others)}", hint="name the patient, or give a rotation for all others")
    return by_rotation(others, rotation) | by_hand
