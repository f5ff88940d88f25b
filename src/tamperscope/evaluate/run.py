"""Judge the cases of a manifest one after the other, and keep each answer at once: a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamperscope.datasets import cases
from tamperscope.datasets.cases import Case
from tamperscope.datasets.manifest import Entry, Tick, digest
from tamperscope.errors import InputError, UnreadableError, UsageError
from tamperscope.evaluate.outcomes import Outcome, Tested, outcome
from tamperscope.records import JSON, Failure

ROWS = "outcomes.jsonl"
SCHEMA = "tamperscope/outcomes/1"


@dataclass(frozen=True, slots=True)
class Run:
    """The answers of a model to the cases of a manifest, and the cases that could not be read."""

    outcomes: tuple[Outcome, ...]
    failed: tuple[Failure, ...]


def selected(entries: Iterable[Entry], part: str | None) -> tuple[Entry, ...]:
    """The entries of one part of the split; all without a part, if the manifest knows none.

    Raises:
        UsageError: the part does not exist, or there are parts and none was named.
        InputError: nothing is left, or all of it has one label.
    """
    listed = tuple(entries)
    parts = sorted({entry.part for entry in listed} - {""})
    if parts and part is None:
        raise UsageError("the manifest has parts, and none was named", hint=f"say --part, one of {', '.join(parts)}")
    chosen = tuple(entry for entry in listed if part is None or entry.part == part)
    if not chosen:
        known = ", ".join(parts) or "none"
        raise UsageError(f"the manifest has no part {part!r}", hint=f"the parts are {known}")
    labels = {entry.label for entry in chosen}
    if len(labels) == 1:
        raise InputError(
            f"all {len(chosen)} files are {labels.pop()}: neither rate can be told apart from chance",
            hint="give a manifest with authentic and forged series",
        )
    return chosen


def run(
    entries: Sequence[Entry],
    tested: Tested,
    about: dict[str, JSON],
    out: Path,
    tick: Tick | None = None,
    *,
    change: Callable[[Case], Case] = lambda case: case,
    rows: str = ROWS,
) -> Run:
    """Judge every series of the entries.

    Args:
        entries: with digests; see `selected`.
        tested: the model.
        about: what else makes the answers these: the digest of the weights.
        out: folder of the run, made if it is missing.
        tick: told of progress, if given.
        change: what is done to every case before the model sees it.
        rows: name of the file of answers in ``out``.

    Raises:
        UsageError: the folder holds the answers of another model or manifest, or cannot be written.
    """
    groups = cases.by_series(entries)
    head: dict[str, JSON] = {"schema": SCHEMA, "model": tested.name, "manifest": digest(entries), **about}
    path = out / rows
    known = _kept(path, head)
    outcomes, failed = [], []
    for number, group in enumerate(groups):
        if tick is not None:
            tick("judging series", number, len(groups))
        name = cases.name_of(group[0])
        if name not in known:
            try:
                known[name] = outcome(change(cases.opened(group)), tested)
            except InputError as error:
                failed.append(Failure(name, error.message, error.hint))
                continue
            _append(path, known[name].to_json())
        outcomes.append(known[name])
    return Run(tuple(outcomes), tuple(failed))


def _kept(path: Path, head: dict[str, JSON]) -> dict[str, Outcome]:
    """What an earlier run of the same model on the same manifest left; its last line may be torn."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise UsageError(
            f"cannot use {path}: {error.strerror}", hint="choose a folder that you may write to"
        ) from error
    whole = [line for line in lines if line.endswith("\n")]
    if not whole:
        path.unlink(missing_ok=True)
        _append(path, head)
        return {}
    try:
        first, *rows = (json.loads(line) for line in whole)
        found = {row["name"]: Outcome.from_json(row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="choose an empty folder") from error
    if first != head:
        raise UsageError(
            f"{path.parent} holds the answers of another model or to another manifest", hint="choose an empty folder"
        )
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    return found


def _append(path: Path, row: object) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="choose a folder that you may write to"
        ) from error
