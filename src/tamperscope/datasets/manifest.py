"""Which file belongs to which patient, with its digest, and which part of a split the patient is in."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tamperscope.errors import InputError, UnreadableError

Part = Literal["train", "calibrate", "test"]
PARTS: tuple[Part, ...] = ("train", "calibrate", "test")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a data set."""

    path: Path
    collection: str
    patient: str
    series: str
    """Folder of the series below the patient, or empty."""
    sha256: str


def digest(entries: Iterable[Entry]) -> str:
    """One SHA-256 over the digests of all files, in any order: what a Card states of its training data."""
    return hashlib.sha256("\n".join(sorted(entry.sha256 for entry in entries)).encode()).hexdigest()


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


def by_rotation(patients: Iterable[str], rotation: tuple[Part, ...]) -> dict[str, Part]:
    """Patients in order of their names, dealt out in turn: the same names always give the same parts."""
    return {patient: rotation[number % len(rotation)] for number, patient in enumerate(sorted(set(patients)))}


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
    """The part of every patient, from a JSON file: lists for those placed by hand, a rotation for all others.

    Raises:
        InputError: the file is no such split, a patient stands in two lists or in none, or a picture in two parts.
    """
    known = tuple(entries)
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
    others = {entry.patient for entry in known} - by_hand.keys()
    if others and not rotation:
        raise InputError(f"{path} places no {min(others)}", hint="name the patient, or give a rotation for all others")
    parts = by_rotation(others, rotation) | by_hand
    check_disjoint(known, parts)
    return parts
