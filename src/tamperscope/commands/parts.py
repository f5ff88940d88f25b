"""What commands share that divide patients: shares of the parts from a word, and how many of what each part has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamperscope.datasets.manifest import Entry, Part

SHARES = "train=0.7,calibrate=0.1,test=0.2"


def shares(text: str) -> dict[Part, float]:
    """``train=0.8,test=0.2`` to its shares.

    Raises:
        UsageError: a word is no share of a part.
    """
    from tamperscope.datasets.manifest import PARTS
    from tamperscope.errors import UsageError

    found: dict[Part, float] = {}
    for word in text.split(","):
        key, _, value = word.strip().partition("=")
        part = next((part for part in PARTS if part == key), None)
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if part is None or part in found or not 0 < share < float("inf"):
            raise UsageError(
                f"--parts {text}: {word.strip()!r} is no share of a part",
                hint=f"say {','.join(f'{name}=0.5' for name in PARTS[::2])}; the parts are {', '.join(PARTS)}",
            )
        found[part] = share
    return found


def counted(divided: Iterable[Entry]) -> Iterator[str]:
    """One line a part: patients, and files by label."""
    from tamperscope.datasets.manifest import PARTS

    listed = tuple(divided)
    for part in (*PARTS, ""):
        inside = [entry for entry in listed if entry.part == part]
        if not inside:
            continue
        forged = sum(entry.label == "forged" for entry in inside)
        patients = len({entry.patient for entry in inside})
        real = len(inside) - forged
        yield f"{part or 'left out':<10} {patients:>6} patients  {real:>7} authentic  {forged:>7} forged files"
