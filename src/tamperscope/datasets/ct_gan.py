"""Slices tampered with by CT-GAN: 'Deepfakes: Medical Image Tamper Detection' (Mirsky et al. 2019, UCI, CC BY 4.0).

Layout: ``labels.csv`` (type, uuid, slice, x, y) beside ``uuid/slice.dcm``. FB: a nodule was removed; FM: a nodule was
injected; TB and TM: authentic places. x is the column and y the row of the centre.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tamperscope import study
from tamperscope.decode import decode
from tamperscope.errors import UnreadableError
from tamperscope.records import Volume

Kind = Literal["removed", "injected"]
KINDS: dict[str, Kind] = {"FB": "removed", "FM": "injected"}


@dataclass(frozen=True, slots=True)
class Label:
    """One tampered place."""

    scan: str
    slice_name: str
    kind: Kind
    row: int
    column: int

    def path(self, root: Path) -> Path:
        """The slice's file below the folder of the data set."""
        return root / self.scan / f"{self.slice_name}.dcm"


def labels(root: Path) -> tuple[Label, ...]:
    """The tampered places whose slice is there; authentic places (TB, TM) are left out.

    Raises:
        UnreadableError: no ``labels.csv`` or a damaged one, or no slice that it names.
    """
    table = root / "labels.csv"
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
        found = [
            Label(row["uuid"], row["slice"], KINDS[row["type"]], int(row["y"]), int(row["x"]))
            for row in rows
            if row["type"] in KINDS
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "give the folder of the data set, where it has the columns type, uuid, slice, x and y"
        raise UnreadableError(f"cannot read {table}: {reason}", hint=hint) from error
    present = tuple(label for label in found if label.path(root).is_file())
    if not present:
        raise UnreadableError(f"no slice that {table} names is there", hint="give the folder that holds uuid/slice.dcm")
    return present


def volumes(root: Path) -> Iterator[tuple[Label, Volume]]:
    """Each tampered place with its slice as a volume of one slice.

    Raises:
        InputError: a slice cannot be read or decoded.
    """
    for label in labels(root):
        reading = study.read(label.path(root))
        if reading.failed:
            raise UnreadableError(f"{label.path(root)}: {reading.failed[0].error}", hint=reading.failed[0].hint)
        yield label, decode(reading.studies[0].series[0])
