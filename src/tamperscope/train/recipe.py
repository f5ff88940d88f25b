"""The recipe of a system, as a TOML file says it: which one, on what, how long."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.errors import UsageError
from tamperscope.records import JSON
from tamperscope.toml import Checker
from tamperscope.train.augment import Augmentation
from tamperscope.train.options import ABOVE_0, COUNT, SYSTEMS


@dataclass(frozen=True, slots=True)
class Data:
    """What is learned from."""

    manifest: Path | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """How long, and in which steps. A system that is fitted at once reads the seed alone."""

    steps: int = field(default=2000, metadata=COUNT)
    batch: int = field(default=16, metadata={"least": 2})
    """Inputs that are in memory at once, half of them forged where the system learns from both."""
    accumulate: int = field(default=1, metadata=COUNT)
    """Batches whose gradients are added up to a step."""
    rate: float = field(default=1e-3, metadata=ABOVE_0)
    minutes: float | None = field(default=None, metadata=ABOVE_0)
    save_every: int = field(default=100, metadata=COUNT)
    """Steps between two looks at the part calibrate, and between checkpoints."""
    patience: int = field(default=10, metadata=COUNT)
    """Looks without a better one after which the training ends."""
    validate: int = field(default=512, metadata={"least": 2})
    """Inputs of the part calibrate that are looked at, half of them forged; fewer where there are fewer."""
    seed: int = field(default=1, metadata={"least": 0})


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of it."""

    name: str
    system: str
    """One of `options.SYSTEMS`."""
    net: Any
    """An instance of the system's `options.Options.net`."""
    input: Any
    """An instance of the system's `options.Options.input`."""
    manifest: Path | None = None
    """CSV or Parquet with the parts train and calibrate; None where it is given elsewhere."""
    augment: Augmentation = field(default_factory=Augmentation)
    train: Training = field(default_factory=Training)
    folder: Path = field(default_factory=Path)
    """Where the recipe lies."""

    def to_json(self) -> dict[str, JSON]:
        """For records: without folders, which are of one machine."""
        tree = asdict(self)
        del tree["manifest"], tree["folder"]
        return {key: _plain(value) for key, value in tree.items()}


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; the paths in it are relative to its folder.

    Raises:
        UsageError: it cannot be read, or a key or a value is wrong; the message names it, and what would be right.
    """
    return parse_recipe(toml.text(path), str(path), path.parent)


def parse_recipe(text: str, name: str, folder: Path | None = None) -> Recipe:
    """A recipe from its TOML text; ``name`` is what messages call it, ``folder`` what its paths are relative to."""
    tree = toml.tree(text, name, "see experiments/baselines")
    check, base = Checker(name), folder or Path()
    check.keys(tree, ("name", "system", "data", "net", "input", "augment", "train"), "the recipe")
    called, system = (check.one(tree, key, str, None) for key in ("name", "system"))
    if not called:
        raise check.fail("the recipe has no name", "add name = NAME")
    if system not in SYSTEMS:
        raise check.fail(f"system = {system!r}", f"the systems are {', '.join(SYSTEMS)}")
    options = SYSTEMS[system]
    if "augment" in tree and not options.augmented:
        raise check.fail(f"[augment] in the recipe of a {system}", "it sees its input as it is: leave the table out")

    def table(key: str, kind: Any) -> Any:
        return check.record(tree.get(key, {}), kind, f"[{key}] of a {system}" if key == "net" else f"[{key}]", base)

    try:
        return Recipe(
            called,
            system,
            table("net", options.net),
            table("input", options.input),
            table("data", Data).manifest,
            table("augment", Augmentation),
            table("train", Training),
            base,
        )
    except UsageError as error:
        raise error if error.message.startswith(name) else check.fail(error.message, error.hint) from error


def _plain(value: Any) -> JSON:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    found: JSON = list(value) if isinstance(value, tuple) else value.name if isinstance(value, Path) else value
    return found
