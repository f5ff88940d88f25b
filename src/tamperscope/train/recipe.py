"""The recipe of a system, as a TOML file says it: which one, on what, how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.errors import UsageError
from tamperscope.records import JSON
from tamperscope.toml import Checker
from tamperscope.train.augment import Augmentation
from tamperscope.train.options import ABOVE_0, COUNT, MEASURES, SYSTEMS, OwnNet, PictureInput


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
    measure: str = "auroc"
    """What these looks go by: one of `options.MEASURES`, computed on the logits of the inputs that are looked at."""
    validate: int = field(default=512, metadata={"least": 2})
    """Inputs of the part calibrate that are looked at, half of them forged; fewer where there are fewer."""
    seed: int = field(default=1, metadata={"least": 0})

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UsageError(f"measure = {self.measure!r}", hint=f"one of {', '.join(MEASURES)}")


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
    return _of(toml.tree(text, name, "see experiments/baselines"), name, folder or Path())


def recorded(tree: Mapping[str, JSON], name: str, folder: Path | None = None) -> Recipe:
    """The recipe of an earlier run, as `Recipe.to_json` wrote it: without manifest and files to start from.

    Raises:
        UsageError: this version does not know such a recipe.
    """
    said: dict[str, Any] = {key: _said(value) for key, value in tree.items()}
    said.get("net", {}).pop("pretrained", None)
    known = SYSTEMS.get(said.get("system", ""))
    if known is not None and not known.augmented:
        said.pop("augment", None)
    if known is not None and not known.measured:
        said.get("train", {}).pop("measure", None)
    return _of(said, name, folder or Path())


def with_own(recipe: Recipe, build: str) -> Recipe:
    """The same recipe for a network of the user's, "my_module:build"; input, augmentation and steps stay.

    Raises:
        UsageError: a recipe of something else than slices as pictures.
    """
    if not isinstance(recipe.input, PictureInput):
        raise UsageError(
            f"a {recipe.system} sees no pictures, which --model {build} would take",
            hint="start from a recipe of a network of pictures, such as experiments/baselines/cnn-small.toml",
        )
    return replace(recipe, name=build.replace(":", "-"), system="own", net=OwnNet(build))


def _said(value: JSON) -> Any:
    """A table without what nobody said."""
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


def _of(tree: Mapping[str, Any], name: str, base: Path) -> Recipe:
    check = Checker(name)
    check.keys(tree, ("name", "system", "data", "net", "input", "augment", "train"), "the recipe")
    called, system = (check.one(tree, key, str, None) for key in ("name", "system"))
    if not called:
        raise check.fail("the recipe has no name", "add name = NAME")
    if system not in SYSTEMS:
        raise check.fail(f"system = {system!r}", f"the systems are {', '.join(SYSTEMS)}")
    options = SYSTEMS[system]
    if "augment" in tree and not options.augmented:
        raise check.fail(f"[augment] in the recipe of a {system}", "it sees its input as it is: leave the table out")

    said = tree.get("train")
    if isinstance(said, dict) and "measure" in said and not options.measured:
        raise check.fail(f"measure in the recipe of a {system}", "it has no other than its own: leave the key out")

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
