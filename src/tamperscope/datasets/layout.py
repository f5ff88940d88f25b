"""What the readers share: looking for the folders of a published layout, and saying well what is not there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from tamperscope import study
from tamperscope.datasets.manifest import Truth
from tamperscope.errors import UnreadableError, UnsafePathError
from tamperscope.limits import is_unsafe_name

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
IMAGES = (*PICTURES, ".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".npy")
TRUTHS: dict[str, Truth] = {
    **dict.fromkeys(("authentic", "real", "pristine", "original", "0", "false"), "authentic"),
    **dict.fromkeys(("forged", "fake", "tampered", "synthetic", "1", "true"), "forged"),
}
"""Words for the two labels that tables use."""
SHOWN = 3
"""Names that a sentence lists before it says how many more there are."""


def absent(title: str, root: Path, looked: Iterable[str], way_out: str) -> UnreadableError:
    """The error for a folder that holds nothing of a set: what, where the reader looked, and the way out."""
    if not root.exists():
        return UnreadableError(f"no {title}: {root} does not exist", hint="check the name of the folder")
    return UnreadableError(f"no {title} in {root}: looked for {', '.join(looked)}", hint=way_out)


def first(candidates: Iterable[Path]) -> Path | None:
    """The first of the paths that is there."""
    return next((path for path in candidates if path.exists()), None)


def named(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def is_image(path: Path, suffixes: tuple[str, ...] = IMAGES) -> bool:
    """Whether a file has the name of an image; hidden files have not."""
    return path.name.lower().endswith(suffixes) and not path.name.startswith(".")


def images(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> list[Path]:
    """The images that lie in a folder itself, in order of their names; none if it is not there."""
    return sorted(path for path in folder.glob("*") if is_image(path, suffixes))


def rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has at least these columns, each with a value for them.

    Raises:
        UnreadableError: it cannot be read, or is no such table; the message names it.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = f"it needs the columns {', '.join(columns)}"
        raise UnreadableError(f"cannot read {table}: {reason}", hint=hint) from error
    return parsed(text, table, columns)


def parsed(text: str, table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV text; see `rows`."""
    hint = f"it needs the columns {', '.join(columns)}"
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        found = list(reader)
        header = reader.fieldnames or ()
    except csv.Error as error:
        raise UnreadableError(f"cannot read {table}: {error}", hint=hint) from error
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise UnreadableError(f"cannot read {table}: no column {named(lacking)}", hint=hint)
    for number, row in enumerate(found, start=2):
        if any(row[column] is None for column in columns):
            raise UnreadableError(f"cannot read {table}: row {number} is cut short", hint=hint)
    return found


def whole(text: str, table: Path) -> int:
    """A whole number of a table, which may be written as 256.0.

    Raises:
        UnreadableError: it is none; the message names the table.
    """
    try:
        value = float(text)
        if value != int(value):
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"cannot read {table}: {text!r} is no whole number", hint="fetch it again") from error
    return int(value)


def within(name: str, table: Path) -> str:
    """A name of a table that becomes part of a path.

    Raises:
        UnsafePathError: it would lead out of the folder of the set.
    """
    if is_unsafe_name(name):
        raise UnsafePathError(f"{table} names {name!r}, outside its folder", hint="do not use this table")
    return name


def truth(text: str, table: Path) -> Truth:
    """A label of a table.

    Raises:
        UnreadableError: the word is not known; the message names the table.
    """
    known = TRUTHS.get(text.strip().lower())
    if known is None:
        raise UnreadableError(f"cannot read {table}: unknown label {text!r}", hint=f"use one of {', '.join(TRUTHS)}")
    return known


def scanner(path: Path) -> tuple[str, str]:
    """(modality, manufacturer and model) of a DICOM file; empty where it does not say, or cannot be read."""
    series = [series for one in study.read(path).studies for series in one.series]
    if not series:
        return "", ""
    header = series[0].header
    facts = (str(header.get(key) or "").strip() for key in ("manufacturer", "model"))
    return series[0].modality, " ".join(fact for fact in facts if fact)
