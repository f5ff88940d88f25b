"""What a benchmark consists of: models, data sets and seeds, as a TOML file says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.datasets.manifest import PARTS
from tamperscope.errors import UsageError
from tamperscope.evaluate import evaluation
from tamperscope.toml import Checker
from tamperscope.train.recipe import Recipe, read_recipe
from tamperscope.weights import Card

KEYS = ("name", "seeds", "data", "model")
DATA_KEYS = ("name", "manifest", "part", "train", "leave_out", "slice_split", "beside", "allow_leaks")
MODEL_KEYS = ("name", "recipe", "card", "seeds", "data")


@dataclass(frozen=True, slots=True)
class Data:
    """One data set: what is judged, and what models are trained on for it."""

    name: str
    manifests: tuple[Path, ...]
    """Judged as one."""
    part: str | None = None
    train: Path | None = None
    """A manifest with the parts train and calibrate; None where several are judged and none was named."""
    leave_out: tuple[str, ...] = ()
    """Generators that are held out, one after the other: trained without, judged on."""
    slice_split: bool = False
    """Slices of one patient are in several parts, which shows what leaking adds."""
    beside: str | None = None
    """Of one that is split by slice: the data set that it is held against."""
    allow_leaks: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model: a recipe that is trained, or a Card that is judged as it is."""

    name: str
    seeds: tuple[int, ...] = ()
    """Empty for a Card."""
    data: tuple[str, ...] = ()
    """Names of the data sets that it is for; all if empty."""
    recipe: Recipe | None = None
    path: Path | None = None
    """Of the recipe."""
    card: Card | None = None
    called: str = ""
    """What `evaluate --model` is told for a Card: its name or its path."""

    def is_for(self, data: Data) -> bool:
        """Whether it is trained or judged on this data set."""
        return not self.data or data.name in self.data


@dataclass(frozen=True, slots=True)
class Suite:
    """All of it."""

    name: str
    data: tuple[Data, ...]
    models: tuple[Model, ...]

    def beside(self, data: Data) -> str | None:
        """The data set, split by patient, that one split by slice is held against."""
        others = [one.name for one in self.data if not one.slice_split]
        return data.beside or (others[0] if others else None)


def read_suite(path: Path) -> Suite:
    """Read and check a suite and its recipes; the paths in it are relative to its folder.

    Raises:
        UsageError: it or a recipe cannot be read, or a key or a value is wrong; the message names it, and what would be
            right.
        WeightsError: a Card is damaged.
    """
    tree = toml.tree(toml.text(path), str(path), "see the suite in docs/how-to.md")
    check = Checker(str(path))
    check.keys(tree, KEYS, "the suite")
    name = check.one(tree, "name", str, path.stem)
    every = _seeds(check, tree)
    data = tuple(_data(check, table, path.parent, number) for number, table in _tables(check, tree, "data"))
    models = tuple(_model(check, table, path.parent, number, every) for number, table in _tables(check, tree, "model"))
    _unique(check, "data set", (one.name for one in data))
    _unique(check, "model", (one.name for one in models))
    suite = Suite(name, data, models)
    _check_names(check, suite)
    return suite


def _tables(check: Checker, tree: Mapping[str, Any], key: str) -> list[tuple[int, Any]]:
    listed = check.one(tree, key, list, [])
    if not listed:
        raise check.fail(
            f"no [[{key}]]", f"add one; its keys are {', '.join(DATA_KEYS if key == 'data' else MODEL_KEYS)}"
        )
    return list(enumerate(listed, start=1))


def _data(check: Checker, table: Any, folder: Path, number: int) -> Data:
    where = f"[[data]] number {number}"
    check.keys(table, DATA_KEYS, where)
    name, part, train, beside = (check.one(table, key, str, None) for key in ("name", "part", "train", "beside"))
    if not name:
        raise check.fail(f"{where} has no name", "add name = NAME")
    if part is not None and part not in PARTS:
        raise check.fail(f"part = {part!r}", f"the parts are {', '.join(PARTS)}")
    manifests = tuple(_below(folder, one) for one in _one_or_more(check, table, "manifest", where))
    alone = manifests[0] if len(manifests) == 1 else None
    slice_split = check.one(table, "slice_split", bool, False)
    if beside is not None and not slice_split:
        raise check.fail(f"beside = {beside!r} in {where}", "it belongs to a set with slice_split = true")
    return Data(
        name,
        manifests,
        part,
        _below(folder, train) if train else alone,
        check.words(table, "leave_out", ()),
        slice_split,
        beside,
        check.one(table, "allow_leaks", bool, False),
    )


def _model(check: Checker, table: Any, folder: Path, number: int, every: tuple[int, ...]) -> Model:
    where = f"[[model]] number {number}"
    check.keys(table, MODEL_KEYS, where)
    name, recipe, card = (check.one(table, key, str, None) for key in ("name", "recipe", "card"))
    data = check.words(table, "data", ())
    if (recipe is None) == (card is None):
        raise check.fail(f"{where} has {'both' if recipe else 'neither'} recipe and card", "give it one of them")
    if card is not None:
        if "seeds" in table:
            raise check.fail(f"seeds in {where}", "a Card is not trained: leave them out")
        beside = _below(folder, card)
        called = str(beside) if beside.is_file() else card
        found = evaluation.card_of(called)
        return Model(name or found.name, (), data, card=found, called=called)
    path = _below(folder, recipe)
    read = read_recipe(path)
    return Model(name or read.name, _seeds(check, table) or every or (read.train.seed,), data, read, path)


def _seeds(check: Checker, table: Mapping[str, Any]) -> tuple[int, ...]:
    found = check.numbers(table, "seeds", ())
    if not all(isinstance(seed, int) and seed >= 0 for seed in found) or len(set(found)) < len(found):
        raise check.fail(f"seeds = {list(found)!r}", "they are different whole numbers such as [1, 2, 3]")
    return tuple(int(seed) for seed in found)


def _one_or_more(check: Checker, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key)
    named: tuple[str, ...] = (value,) if isinstance(value, str) else check.words(table, key, ())
    if not named or not all(named):
        raise check.fail(f"{where} has no {key}", f'add {key} = "manifest.csv", or a list of them')
    return named


def _below(folder: Path, name: str) -> Path:
    """A path of the suite as a person would write it: without the detours by which its folder was left."""
    return Path(os.path.normpath(folder / name))


def _unique(check: Checker, kind: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise check.fail(f"two {kind}s are called {twice[0]!r}", "give each its own name = NAME")


def _check_names(check: Checker, suite: Suite) -> None:
    """That every data set that is named is there, and that what is to be trained has a manifest to be trained on."""
    known = {one.name: one for one in suite.data}
    for model in suite.models:
        for name in model.data:
            if name not in known:
                raise check.fail(f"the model {model.name} names the data set {name!r}", f"there are {', '.join(known)}")
    for data in suite.data:
        _check_beside(check, data, suite)
        trained = [model.name for model in suite.models if model.recipe is not None and model.is_for(data)]
        if data.train is None and trained:
            raise check.fail(
                f"the data set {data.name} has several manifests, and {trained[0]} is to be trained for it",
                'say train = "manifest.csv"',
            )


def _check_beside(check: Checker, data: Data, suite: Suite) -> None:
    others = [one.name for one in suite.data if not one.slice_split]
    if data.beside is not None and data.beside not in others:
        hint = f"split by patient are {', '.join(others) or 'none'}"
        raise check.fail(f"beside = {data.beside!r} of the data set {data.name}", hint)
    if data.slice_split and data.beside is None and len(others) > 1:
        raise check.fail(
            f"the data set {data.name} is split by slice, and {len(others)} are split by patient",
            f"say which it is held against: beside = {others[0]!r}, say",
        )


def chosen(suite: Suite, only: Iterable[str]) -> tuple[str, ...]:
    """The names of the models that are asked for, all if none is.

    Raises:
        UsageError: there is no such model.
    """
    known = [model.name for model in suite.models]
    wanted = [name for name in only if name]
    for name in wanted:
        if name not in known:
            raise UsageError(f"no model of the suite is called {name}", hint=f"there are {', '.join(known)}")
    return tuple(wanted or known)
