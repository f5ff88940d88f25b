"""What a data set is: facts about it, the list of its files, and whether all of it is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tamperscope.datasets.manifest import Entry, Tick


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a data set without having it."""

    name: str
    """What commands and tables call it."""
    title: str
    source: str
    """Where to get it: citation, and DOI, collection or page. Nothing here fetches it."""
    licence: str
    modality: str
    patients: str
    """How many, and how far that is known."""
    patient_key: str
    """What two files of one patient have in common."""
    layout: str
    """The folders in which it is published, as the reader looks for them."""
    generators: tuple[str, ...]
    """What made its forgeries; empty for a set of authentic images."""
    checked_against: str
    """Whether the reader has met real files of the set, or only its published description."""
    traps: tuple[str, ...]
    """What goes wrong for those who do not know, each as one sentence."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a folder that holds a data set."""

    layout: str
    """Which of the known layouts this is."""
    files: int
    patients: int
    authentic: int
    """Files whose series or picture is authentic."""
    forged: int
    generators: tuple[str, ...]
    scanners: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """What the layout or its tables promise and the folder does not hold, each with the way out."""
    notes: tuple[str, ...] = ()
    """What to know before using it."""
    short: tuple[str, ...] = ()
    """How much less there is than was published: nothing that is here lacks its other half, but it is a part."""
    leaks: tuple[str, ...] = ()
    """Patients and files that are in two parts of the split, if there is one."""

    @property
    def complete(self) -> bool:
        """Nothing that was promised is missing, and nothing leaks."""
        return not self.missing and not self.leaks

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        layout: str,
        missing: Iterable[str] = (),
        notes: Iterable[str] = (),
        leaks: Iterable[str] = (),
        *,
        short: Iterable[str] = (),
    ) -> Findings:
        """Count what the entries say."""
        listed = tuple(entries)
        forged = sum(entry.label == "forged" for entry in listed)
        return cls(
            layout,
            files=len({entry.path for entry in listed}),
            patients=len({entry.patient for entry in listed}),
            authentic=len(listed) - forged,
            forged=forged,
            generators=tuple(sorted({entry.generator for entry in listed} - {""})),
            scanners=tuple(sorted({entry.scanner for entry in listed} - {""})),
            missing=tuple(missing),
            notes=tuple(notes),
            short=tuple(short),
            leaks=tuple(leaks),
        )


class Dataset(Protocol):
    """A data set as it lies on disk. Every module of this folder that reads one is such an object."""

    @property
    def FACTS(self) -> Facts:  # noqa: N802  # a constant of the module
        """What is known of it."""
        ...

    def entries(self, root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
        """Every file of the set below ``root`` with its patient, label and digest, in a fixed order.

        Raises:
            UnreadableError: nothing of the set is there, or a table of it is damaged; the message says where the
                reader looked.
            InputError: two patients have one key.
        """
        ...

    def check(self, root: Path) -> Findings:
        """Is all of it there? Files are looked for, not read.

        Raises:
            UnreadableError: nothing of the set is there, or a table of it is damaged.
        """
        ...
