"""Judge the cases of a manifest one after the other, and keep each answer at once: a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tamperscope.datasets import cases
from tamperscope.datasets.cases import Case
from tamperscope.datasets.manifest import Entry, Tick, full_digest
from tamperscope.errors import AttackError, InputError, UnreadableError, UsageError
from tamperscope.evaluate.outcomes import Outcome, Tested, outcome
from tamperscope.records import JSON, Failure

ROWS = "outcomes.jsonl"
SCHEMA = "tamperscope/outcomes/1"


class Change(Protocol):
    """What is done to every case before the model sees it."""

    @property
    def name(self) -> str:
        """For files and tables."""
        ...

    def __call__(self, case: Case) -> Case | None:
        """The case after the change; None where it does not apply."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """The answers of a model to the cases of a manifest, and the cases that could not be read."""

    outcomes: tuple[Outcome, ...]
    failed: tuple[Failure, ...]
    left_out: tuple[str, ...] = ()
    """Series to which the change of this run does not apply."""


@dataclass(slots=True)
class _Answers:
    """The answers under one change, as they gather in a file; None for a series to which it does not apply."""

    path: Path
    change: Change | None
    known: dict[str, Outcome | None]
    failed: list[Failure] = field(default_factory=list)

    def add(self, case: Case, tested: Tested) -> None:
        try:
            changed = case if self.change is None else self.change(case)
            found = None if changed is None else outcome(changed, tested)
        except (InputError, AttackError) as error:
            self.failed.append(Failure(case.name, error.message, error.hint))
            return
        self.known[case.name] = found
        _append(self.path, {"name": case.name, "applies": False} if found is None else found.to_json())

    def run(self, names: Iterable[str]) -> Run:
        listed = [(name, self.known[name]) for name in names if name in self.known]
        answered = tuple(one for _, one in listed if one is not None)
        return Run(answered, tuple(self.failed), tuple(name for name, one in listed if one is None))


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


def run(entries: Sequence[Entry], tested: Tested, about: dict[str, JSON], out: Path, tick: Tick | None = None) -> Run:
    """Judge every series of the entries.

    Args:
        entries: with digests; see `selected`.
        tested: the model.
        about: what else makes the answers these: the digest of the weights.
        out: folder of the run, made if it is missing.
        tick: told of progress, if given.

    Raises:
        UsageError: the folder holds the answers of another model or manifest, or cannot be written.
        InputError: not one series could be judged.
        WeightsError: the model is damaged, or does not answer as it ought to.
    """
    answers = _Answers(out / ROWS, None, _kept(out / ROWS, _head(entries, tested, about)))
    (found,) = _gathered(entries, tested, [answers], tick)
    if not found.outcomes and found.failed:
        first = found.failed[0]
        raise InputError(
            f"none of {len(found.failed)} series could be judged; {first.source}: {first.error}", hint=first.hint
        )
    return found


def run_changed(
    entries: Sequence[Entry],
    tested: Tested,
    about: dict[str, JSON],
    out: Path,
    changes: Sequence[Change],
    tick: Tick | None = None,
) -> tuple[Run, ...]:
    """Judge every series under every change, as `run` does without; a series is decoded once for all of them.

    The answers under each change have a file of their own in ``out``. Errors as `run`, but for the last two.
    """
    answers = []
    for change in changes:
        path = out / f"outcomes-{change.name.replace(' ', '-').replace('%', '')}.jsonl"
        known = _kept(path, _head(entries, tested, about | {"change": change.name}))
        answers.append(_Answers(path, change, known))
    return _gathered(entries, tested, answers, tick)


def read(folder: Path) -> tuple[Mapping[str, JSON], dict[str, Outcome]]:
    """What an evaluation left: which model answered to which manifest, and the answers by the names of the series.

    Raises:
        UnreadableError: there are no answers, or they are damaged.
    """
    path = folder / ROWS
    try:
        head, known = _parsed(path, path.read_text(encoding="utf-8").splitlines(keepends=True))
    except (OSError, IndexError) as error:
        raise UnreadableError(f"{folder} holds no answers: {error}", hint="give the folder of an evaluation") from error
    return head, {name: one for name, one in known.items() if one is not None}


def _head(entries: Sequence[Entry], tested: Tested, about: dict[str, JSON]) -> dict[str, JSON]:
    return {"schema": SCHEMA, "model": tested.name, "manifest": full_digest(entries), **about}


def _gathered(
    entries: Sequence[Entry], tested: Tested, answers: Sequence[_Answers], tick: Tick | None
) -> tuple[Run, ...]:
    groups = cases.by_series(entries)
    names = [cases.name_of(group[0]) for group in groups]
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        if tick is not None:
            tick("judging series", number, len(groups))
        missing = [one for one in answers if name not in one.known]
        if not missing:
            continue
        try:
            case = cases.opened(group)
        except InputError as error:
            for one in missing:
                one.failed.append(Failure(name, error.message, error.hint))
            continue
        for one in missing:
            one.add(case, tested)
    return tuple(one.run(names) for one in answers)


def _kept(path: Path, head: dict[str, JSON]) -> dict[str, Outcome | None]:
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
    first, found = _parsed(path, whole)
    if first != head and not found:
        path.unlink()  # a run that ended before its first answer
        _append(path, head)
        return {}
    if first != head:
        raise UsageError(
            f"{path.parent} holds the answers of another model or to another manifest", hint="choose an empty folder"
        )
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    return found


def _parsed(path: Path, lines: Sequence[str]) -> tuple[dict[str, JSON], dict[str, Outcome | None]]:
    """The head and the answers in whole lines."""
    try:
        first, *rows = (json.loads(line) for line in lines if line.endswith("\n"))
        return dict(first), {row["name"]: _answer(row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="choose an empty folder") from error


def _answer(row: Mapping[str, Any]) -> Outcome | None:
    return Outcome.from_json(row) if row.get("applies", True) else None


def _append(path: Path, row: object) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="choose a folder that you may write to"
        ) from error
