"""Splits by patient: stratified, or with one generator or one scanner held out for the test.

Each returns the same entries with their ``part`` set; an empty part means that the file is left out of this split.
The same entries, shares and seed give the same split, in whatever order the entries come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tamperscope.datasets.layout import named
from tamperscope.datasets.manifest import PARTS, Entry, Part, dealt, placed
from tamperscope.errors import InputError, UsageError

Shares: TypeAlias = Mapping[Part, float]
SHARES: Shares = {"train": 0.7, "calibrate": 0.1, "test": 0.2}
"""Parts of the patients where nothing else is said."""


def published(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The split that the publishers of the set made.

    Raises:
        InputError: the set has none.
    """
    listed = tuple(entries)
    if not any(entry.part for entry in listed):
        raise InputError("this data set was published without a split", hint="split it by patient")
    return listed


def whole(entries: Iterable[Entry], part: Part) -> tuple[Entry, ...]:
    """All of the set in one part: of a set that is there to validate with, say."""
    return tuple(replace(entry, part=part) for entry in entries)


def from_file(entries: Iterable[Entry], path: Path) -> tuple[Entry, ...]:
    """Each patient in the part where a JSON file places it, see `manifest.dealt`.

    Raises:
        InputError: the file is no such split, or leaves a patient out.
    """
    listed = tuple(entries)
    return placed(listed, dealt(path, {entry.patient for entry in listed}))


def held_out(entries: Iterable[Entry], generator: str) -> tuple[Entry, ...]:
    """Hold a generator out of a split that is there: no patient changes the part.

    Its forgeries in train and calibrate, the others' in test, and those of which nobody says what made them, are left
    out.

    Raises:
        InputError: there is no split, or the test has no forgery of this generator.
    """
    listed = published(entries)
    known = sorted({entry.generator for entry in listed if entry.part == "test"} - {""})
    if generator not in known:
        raise InputError(
            f"no forgery by {generator!r} in the part test", hint=f"there are {', '.join(known) or 'no generators'}"
        )

    def wanted(entry: Entry) -> bool:
        known_other = entry.generator != "" and (entry.generator == generator) == (entry.part == "test")
        return entry.label == "authentic" or known_other

    return tuple(replace(entry, part=entry.part if wanted(entry) else "") for entry in listed)


def by_patient(entries: Iterable[Entry], shares: Shares = SHARES, seed: int = 0) -> tuple[Entry, ...]:
    """Patients dealt to parts by their shares, within each stratum of label, generator and grade alike.

    The stratum of a patient is what all its files say together. Within a stratum the patients are shuffled; each part
    gets its share rounded down, and what is left over goes to the parts that lack most of all patients so far. No
    part stays empty.

    Args:
        entries: any order.
        shares: of the patients; they are scaled to sum to 1.
        seed: of the shuffle.

    Raises:
        UsageError: a share is not positive, or none is given.
        InputError: there are fewer patients than parts.
    """
    listed = tuple(entries)
    parts = _deal(_strata(listed), shares, seed)
    return tuple(replace(entry, part=parts[entry.patient]) for entry in listed)


def without_generator(
    entries: Iterable[Entry], generator: str, shares: Shares = SHARES, seed: int = 0
) -> tuple[Entry, ...]:
    """Hold a generator out: no forgery of it is trained on, and its forgeries are the only ones in the test.

    Patients are dealt as in `by_patient`, but those who have nothing else that could be used all go into the test,
    and at least one who has a forgery of this generator does. The generator's forgeries in train and calibrate, and
    the others' in test, are left out; so is a forgery of which nobody says what made it.

    Raises:
        UsageError: a share is not positive, or test is not among the parts.
        InputError: no forgery of this generator, or nobody else to train on.
    """
    listed = tuple(entries)
    known = sorted({entry.generator for entry in listed} - {""})
    if generator not in known:
        raise InputError(f"no forgery by {generator!r}", hint=f"there are {', '.join(known) or 'no generators'}")
    if "test" not in shares:
        raise UsageError("a generator that is held out needs a test", hint="give test a share: train=0.8,test=0.2")
    others = {entry.patient for entry in listed if entry.label == "authentic" or entry.generator not in ("", generator)}
    parts = _deal_rest(listed, others, shares, seed)
    holders = {entry.patient for entry in listed if entry.generator == generator}
    if not any(parts[patient] == "test" for patient in holders):
        parts[max(holders)] = "test"
        if not any(part == "train" for part in parts.values()):
            raise InputError(
                f"{len(parts)} patients are too few to hold {generator} out: nobody is left to train on",
                hint="give more patients",
            )

    def wanted(entry: Entry, part: str) -> bool:
        if entry.label == "authentic":
            return True
        return entry.generator != "" and (entry.generator == generator) == (part == "test")

    return _parted(listed, parts, wanted)


def without_scanner(
    entries: Iterable[Entry], scanner: str, shares: Shares = SHARES, seed: int = 0
) -> tuple[Entry, ...]:
    """Hold a scanner out: whoever was scanned on it goes into the test, and there only with these scans.

    The name may be the beginning of one, a manufacturer, say. Files that name no scanner are left out: they could be
    of the one that is held out.

    Raises:
        UsageError: a share is not positive, or only test is left.
        InputError: no file of this scanner, or nobody else to train on.
    """
    listed = tuple(entries)
    known = sorted({entry.scanner for entry in listed} - {""})
    if not scanner or not any(name.startswith(scanner) for name in known):
        raise InputError(f"no file of scanner {scanner!r}", hint=f"there are {', '.join(known) or 'none named'}")
    on_it = {entry.patient for entry in listed if entry.scanner.startswith(scanner)}
    kept = {entry.patient for entry in listed if entry.scanner} - on_it
    rest: dict[Part, float] = {part: share for part, share in shares.items() if part != "test"}
    parts = _deal_rest(listed, kept, rest, seed, others=on_it)

    def wanted(entry: Entry, part: str) -> bool:
        return bool(entry.scanner) and entry.scanner.startswith(scanner) == (part == "test")

    return _parted(listed, parts, wanted)


def _parted(
    listed: Iterable[Entry], parts: Mapping[str, Part], wanted: Callable[[Entry, str], bool]
) -> tuple[Entry, ...]:
    """Each entry in the part of its patient, or in none."""
    placed = ((entry, parts.get(entry.patient, "")) for entry in listed)
    return tuple(replace(entry, part=part if part and wanted(entry, part) else "") for entry, part in placed)


def _deal_rest(
    listed: tuple[Entry, ...], kept: set[str], shares: Shares, seed: int, others: set[str] | None = None
) -> dict[str, Part]:
    """Deal out the patients that are kept; the ``others`` (all else, where it is not said) go into the test."""
    if not kept:
        raise InputError("nobody is left to train on", hint="hold out another one, or add data")
    strata = {stratum: [name for name in names if name in kept] for stratum, names in _strata(listed).items()}
    parts = _deal({stratum: names for stratum, names in strata.items() if names}, shares, seed)
    held: set[str] = {entry.patient for entry in listed} - kept if others is None else others
    return parts | dict.fromkeys(held, "test")


def _strata(listed: Iterable[Entry]) -> dict[str, list[str]]:
    """Stratum to its patients, all in order of their names."""
    facts: dict[str, set[str]] = {}
    for entry in listed:
        facts.setdefault(entry.patient, set()).update((entry.label, entry.generator, entry.grade))
    strata: dict[str, list[str]] = {}
    for patient in sorted(facts):
        strata.setdefault("/".join(sorted(facts[patient])), []).append(patient)
    return dict(sorted(strata.items()))


def _deal(strata: Mapping[str, list[str]], shares: Shares, seed: int) -> dict[str, Part]:
    total = sum(shares.values())
    if not shares or min(shares.values()) <= 0:
        given = named([f"{part}={share:g}" for part, share in shares.items()]) or "no parts"
        raise UsageError(f"cannot split into {given}", hint="give each part a positive share: train=0.8,test=0.2")
    count = sum(len(names) for names in strata.values())
    if count < len(shares):
        raise InputError(
            f"{count} patients cannot fill {len(shares)} parts", hint="add patients, or ask for fewer parts"
        )
    part_of: dict[str, Part] = {}
    dealt, given_out = 0, dict.fromkeys(shares, 0)
    rng = np.random.default_rng(seed)
    for names in strata.values():
        dealt += len(names)
        quota = {part: int(share / total * len(names)) for part, share in shares.items()}
        for _ in range(len(names) - sum(quota.values())):
            lack = {part: shares[part] / total * dealt - given_out[part] - quota[part] for part in shares}
            quota[max(lack, key=lambda part: lack[part])] += 1
        shuffled = [names[index] for index in rng.permutation(len(names))]
        for part in sorted(shares, key=PARTS.index):
            part_of |= dict.fromkeys(shuffled[: quota[part]], part)
            del shuffled[: quota[part]]
            given_out[part] += quota[part]
    return _filled(part_of, shares)


def _filled(part_of: dict[str, Part], shares: Shares) -> dict[str, Part]:
    """A part that rounding left empty gets a patient of the largest one: whoever asks for a part wants it."""
    for part in sorted(shares, key=PARTS.index):
        if part not in part_of.values():
            sizes = Counter(part_of.values())
            largest = max(sorted(sizes), key=lambda name: sizes[name])
            part_of[max(name for name in part_of if part_of[name] == largest)] = part
    return part_of
