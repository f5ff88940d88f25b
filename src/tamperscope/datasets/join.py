"""Several manifests as one: what a model is judged on together, or trained on together.

A file that two of them list would count twice, and a patient that two of them place differently would leak, so both
are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tamperscope.datasets import table
from tamperscope.datasets.layout import named
from tamperscope.datasets.manifest import Entry
from tamperscope.datasets.table import Manifest
from tamperscope.errors import InputError, UsageError


def read(paths: Sequence[Path]) -> tuple[Manifest, ...]:
    """Read manifests that are to be used together; see `table.read` for each of them.

    Raises:
        UsageError: no manifest, or one is given twice.
        InputError: two of them list one file (by its path or its digest), or a patient under two collections.
        UnreadableError: one of them cannot be read.
    """
    if not paths:
        raise UsageError("no manifest", hint="give one or more")
    found = tuple(table.read(path) for path in paths)
    owners: dict[str, Path] = {}
    collections: dict[str, tuple[str, Path]] = {}
    for path, manifest in zip(paths, found, strict=True):
        _check_files(path, manifest.entries, owners)
        _check_patients(path, manifest.entries, collections)
    return found


def entries(manifests: Iterable[Manifest], part: str | None = None) -> tuple[Entry, ...]:
    """The rows of all of them, one manifest after the other; with ``part``, each has to have that part.

    Raises:
        UsageError: a manifest holds nothing of the part, so that it would be left out without a word.
    """
    listed = tuple(manifests)
    for one in listed:
        parts = sorted({entry.part for entry in one.entries} - {""})
        if part is not None and len(listed) > 1 and part not in parts:
            raise UsageError(
                f"the manifest of {one.root} has no part {part!r}: its parts are {', '.join(parts) or 'none'}",
                hint=f"write it again with `tamperscope datasets manifest --part {part}`, or leave it out",
            )
    return tuple(entry for one in listed for entry in one.entries)


def check_parts(paths: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Make sure that either all manifests are divided into parts or none is.

    Raises:
        UsageError: the rows of some would belong to no part, and be left out by whatever asks for one.
    """
    bare = [str(path) for path, one in zip(paths, manifests, strict=True) if not any(row.part for row in one.entries)]
    if bare and len(bare) < len(manifests):
        raise UsageError(
            f"no parts in {named(bare)}, but in the others",
            hint="write it again with `tamperscope datasets manifest`, with --part NAME or with --split",
        )


def rooted(listed: Iterable[Entry], *more: Path) -> tuple[tuple[Entry, ...], Path]:
    """The same rows by their real paths, and the deepest folder that holds all images and masks, and ``more``."""
    real = tuple(
        replace(entry, path=entry.path.resolve(), mask=entry.mask and entry.mask.resolve()) for entry in listed
    )
    folders = {entry.path.parent for entry in real} | {entry.mask.parent for entry in real if entry.mask is not None}
    return real, Path(os.path.commonpath([*folders, *(path.resolve() for path in more)]))


def _check_files(path: Path, listed: Iterable[Entry], owners: dict[str, Path]) -> None:
    """No file of ``listed`` is one that an earlier manifest owns; twice within one manifest is its own affair."""
    own: dict[str, Path] = {}
    for entry in listed:
        for key in (str(entry.path.resolve()), entry.sha256):
            if key and key in owners:
                raise InputError(
                    f"{owners[key]} and {path} both list {entry.path.name} ({entry.path})",
                    hint="leave one of the two out: the file would count twice",
                )
            own[key] = path
    owners.update(own)


def _check_patients(path: Path, listed: Iterable[Entry], collections: dict[str, tuple[str, Path]]) -> None:
    for entry in listed:
        collection, where = collections.setdefault(entry.patient, (entry.collection, path))
        if collection != entry.collection:
            raise InputError(
                f"{where} and {path} both have a patient {entry.patient}, one in {collection or 'no collection'}, the "
                f"other in {entry.collection or 'no collection'}",
                hint="write the key as collection/patient; if it is one person, give both one collection",
            )
