"""What a TOML file says, or an error that names the key, the value, and what would be right."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tamperscope.errors import UsageError

Record = TypeVar("Record")
SORTS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", hint="check it") from error


def tree(text: str, name: str, hint: str) -> dict[str, Any]:
    """The tables of a TOML text; ``name`` is what messages call it, ``hint`` where to see how it is written.

    Raises:
        UsageError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is no TOML: {error}", hint=hint) from error


class Checker:
    """Values of a TOML table, or an error that names the key."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, what: str, hint: str) -> UsageError:
        """The error to raise: what is wrong, and the way out."""
        return UsageError(f"{self._name}: {what}", hint=hint)

    def keys(self, table: Any, known: Sequence[str], where: str) -> None:
        """That ``table`` is one, and holds no key but the ``known`` ones."""
        if not isinstance(table, dict):
            raise self.fail(f"{where} is no table", f"it has the keys {', '.join(known)}")
        unknown = sorted(table.keys() - set(known))
        if unknown:
            raise self.fail(f"unknown key {unknown[0]!r} in {where}", f"the known keys are {', '.join(known)}")

    def one(self, table: Mapping[str, Any], key: str, kind: type, default: Any, *, least: float | None = None) -> Any:
        """The value of ``key``, of this kind and at least so large; ``default`` if it is not there."""
        value = table.get(key, default)
        number = kind is float and isinstance(value, int) and not isinstance(value, bool)
        good = value is default or number or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))
        if not good or (least is not None and value is not default and not value >= least):
            bound = "" if least is None else f" of {least:g} or more"
            raise self.fail(f"{key} = {value!r}", f"it is a {kind.__name__}{bound}")
        return value

    def words(self, table: Mapping[str, Any], key: str, default: Sequence[str]) -> tuple[str, ...]:
        """The names in a list."""
        value = table.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.fail(f"{key} = {value!r}", 'it is a list of names such as ["compress"]')
        return tuple(value)

    def numbers(self, table: Mapping[str, Any], key: str, default: Sequence[float]) -> tuple[float, ...]:
        """The numbers in a list."""
        value = table.get(key, list(default))
        good = isinstance(value, list) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
        if not good:
            raise self.fail(f"{key} = {value!r}", "it is a list of numbers such as [1, 2]")
        return tuple(value)

    def record(self, table: Any, kind: type[Record], where: str, folder: Path) -> Record:
        """The dataclass whose fields are the keys of a table; a key that is left out has the field's default.

        Args:
            table: What the file says.
            kind: Its fields are numbers, truths, texts, paths, tuples of these, literals, or one and None. Metadata
                bound a number: "least" and "most" are allowed themselves, "above" and "below" are not.
            where: What messages call the table.
            folder: What paths are relative to.

        Raises:
            UsageError: a key is unknown, missing, or its value is of another kind or beyond its bounds.
        """
        hints = get_type_hints(kind)
        self.keys(table, tuple(hints), where)
        found = {}
        for one in fields(kind):  # type: ignore[arg-type]
            if one.name in table:
                found[one.name] = self._value(one.name, table[one.name], hints[one.name], one.metadata, folder)
            elif one.default is MISSING and one.default_factory is MISSING:
                raise self.fail(f"{where} says no {one.name}", f"add {one.name} = ...")
        return kind(**found)

    def _value(self, key: str, value: Any, hint: Any, bounds: Mapping[str, float], folder: Path) -> Any:
        if get_origin(hint) is tuple:
            return self._values(key, value, get_args(hint), bounds, folder)
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise self.fail(f"{key} = {value!r}", f"it is one of {', '.join(map(str, get_args(hint)))}")
            return value
        (sort,) = (one for one in (get_args(hint) or (hint,)) if one is not NoneType)
        if sort is Path:
            return folder / self._value(key, value, str, bounds, folder)
        number = sort is float and isinstance(value, int)
        if not (isinstance(value, sort) or number) or (isinstance(value, bool) and sort is not bool):
            raise self.fail(f"{key} = {value!r}", f"it is {SORTS[sort]}")
        if not _within(value, bounds):
            allowed = " and ".join(f"{_BOUNDS[name]} {bound:g}" for name, bound in bounds.items())
            raise self.fail(f"{key} = {value!r}", f"it is {SORTS[sort]}, {allowed}")
        return float(value) if sort is float else value

    def _values(self, key: str, value: Any, sorts: Sequence[Any], bounds: Mapping[str, float], folder: Path) -> Any:
        free = sorts[-1] is Ellipsis
        if not isinstance(value, list) or not (free or len(value) == len(sorts)):
            raise self.fail(f"{key} = {value!r}", f"it is a list of {'values' if free else len(sorts)}")
        each = [sorts[0]] * len(value) if free else sorts
        return tuple(self._value(key, one, sort, bounds, folder) for one, sort in zip(value, each, strict=True))


_BOUNDS: Mapping[str, str] = {"least": "at least", "most": "at most", "above": "above", "below": "below"}


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    """Whether a value keeps its bounds; what is not finite keeps none."""
    return all(
        (name == "least" and bound <= value < float("inf"))
        or (name == "above" and bound < value < float("inf"))
        or (name == "most" and value <= bound)
        or (name == "below" and value < bound)
        for name, bound in bounds.items()
    )
