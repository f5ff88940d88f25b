"""What a benchmark set is made of: which attacks, how often, on which studies, as a TOML file says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.datasets.manifest import PARTS
from tamperscope.errors import UsageError
from tamperscope.plan import Plan, anyone, planned
from tamperscope.records import JSON, Volume
from tamperscope.toml import Checker

LINE_KEYS = ("attack", "mode", "then", "count", "share", "twin", "parts", "options", "network")


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of forgery: what is done, how often, and to which studies."""

    attack: str
    mode: str | None = None
    then: tuple[str, ...] = ()
    count: int = 1
    """Forgeries of each series."""
    share: float = 1.0
    """Of the series that it is made of."""
    twin: bool = True
    parts: tuple[str, ...] = PARTS
    """Parts of the split in which it is made; one that is left out there is held out."""
    options: Mapping[str, JSON] = field(default_factory=dict)
    """Settings of the attack, see `plan.settled`."""
    network: str | None = None
    """Folder of its network, where that is not the package's."""

    def plan(self, donors: tuple[Volume, ...] = ()) -> Plan:
        """The attacks of this line.

        Raises:
            UsageError: see `plan.planned`.
        """
        folder = None if self.network is None else Path(self.network)
        return planned(self.attack, self.mode, self.then, donors, self.options, folder)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a set is made of."""

    lines: tuple[Line, ...]
    seed: int = 0
    name: str = "forge-set"
    patient: str | None = None
    """Regular expression; what its first group finds in a file's name is the patient. For files that do not say."""
    modality: str | None = None
    spacing_mm: tuple[float, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    """Share of the patients in each part; without any, and without ``split``, there is no split."""
    split: Path | None = None
    """A file that says which patient is in which part, see `datasets.manifest.dealt`."""

    @property
    def divided(self) -> bool:
        """Whether patients belong to parts."""
        return bool(self.parts) or self.split is not None


def read_recipe(path: Path, folder: Path | None = None) -> Recipe:
    """Read and check a recipe; the paths in it are relative to ``folder``, its own if None.

    Raises:
        UsageError: it cannot be read, or a key or a value is wrong; the message names it, and what would be right.
    """
    text = toml.text(path)
    return parse_recipe(text, str(path), folder or path.parent)


def parse_recipe(text: str, name: str, folder: Path | None = None) -> Recipe:
    """A recipe from its TOML text; ``name`` is what messages call it, ``folder`` what its paths are relative to."""
    tree = toml.tree(text, name, "see the recipe in docs/how-to.md")
    check = Checker(name)
    check.keys(tree, ("seed", "name", "patient", "modality", "spacing_mm", "parts", "split", "forgery"), "the recipe")
    lines = check.one(tree, "forgery", list, [])
    if not lines:
        raise UsageError(f"{name} holds no [[forgery]]", hint="add one with attack = NAME")
    return Recipe(
        tuple(_line(check, line, number) for number, line in enumerate(lines, start=1)),
        seed=check.one(tree, "seed", int, 0, least=0),
        name=check.one(tree, "name", str, "forge-set"),
        patient=_pattern(check, tree),
        modality=check.one(tree, "modality", str, None),
        spacing_mm=_spacing(check, tree),
        parts=_shares(check, tree),
        split=_split(check, tree, folder or Path()),
    )


def _line(check: Checker, table: Any, number: int) -> Line:
    where = f"[[forgery]] {number}"
    check.keys(table, LINE_KEYS, where)
    attack = check.one(table, "attack", str, None)
    if attack is None:
        raise check.fail(f"{where} names no attack", "add attack = NAME")
    line = Line(
        attack,
        check.one(table, "mode", str, None),
        check.words(table, "then", ()),
        check.one(table, "count", int, 1, least=1),
        float(check.one(table, "share", float, 1.0, least=0.0)),
        check.one(table, "twin", bool, True),
        check.words(table, "parts", PARTS),
        check.one(table, "options", dict, {}),
        check.one(table, "network", str, None),
    )
    if line.share > 1.0:
        raise check.fail(f"share = {line.share:g}", "it is a share of the series, 1 at most")
    for part in line.parts:
        if part not in PARTS:
            raise check.fail(f"unknown part {part!r} in {where}", f"the parts are {', '.join(PARTS)}")
    try:
        line.plan((anyone(),))
    except UsageError as error:
        raise check.fail(f"{where}: {error.message}", error.hint) from error
    return line


def _split(check: Checker, tree: Mapping[str, Any], folder: Path) -> Path | None:
    text: str | None = check.one(tree, "split", str, None)
    if text is None:
        return None
    if "parts" in tree:
        raise check.fail("both split and [parts]", "a file places the patients, or shares deal them out")
    if not (folder / text).is_file():
        raise check.fail(f"split = {text!r}: no such file in {folder}", "it is relative to the recipe")
    return (folder / text).resolve()


def _pattern(check: Checker, tree: Mapping[str, Any]) -> str | None:
    text: str | None = check.one(tree, "patient", str, None)
    if text is None:
        return None
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise check.fail(f"patient = {text!r}: {error}", "it is a regular expression such as '^(\\d{7})'") from error
    if groups < 1:
        raise check.fail(f"patient = {text!r} has no group", "put what names the patient into parentheses")
    return text


def _spacing(check: Checker, tree: Mapping[str, Any]) -> tuple[float, ...]:
    value = tree.get("spacing_mm", [])
    numbers = value if isinstance(value, list) else [value]
    good = all(isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in numbers)
    if not good or len(numbers) not in (0, 1, 3):
        raise check.fail(f"spacing_mm = {value!r}", "give one number, or three: slices, rows, columns")
    return tuple(float(one) for one in numbers)


def _shares(check: Checker, tree: Mapping[str, Any]) -> dict[str, float]:
    table = tree.get("parts", {})
    check.keys(table, PARTS, "[parts]")
    shares: dict[str, float] = {
        part: float(check.one(table, part, float, 0.0, least=0.0)) for part in PARTS if part in table
    }
    if shares and abs(sum(shares.values()) - 1.0) > 1e-6:
        raise check.fail(f"the parts add up to {sum(shares.values()):g}", "they add up to 1")
    return shares
