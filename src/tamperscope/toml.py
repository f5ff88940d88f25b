"""What a TOML file says, or an error that names the key, the value, and what would be right."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tamperscope.errors import UsageError


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
