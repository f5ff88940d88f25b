"""The recipe of a classifier of pictures, as a TOML file says it: which network, on what, how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tamperscope import toml
from tamperscope.errors import UsageError
from tamperscope.records import JSON
from tamperscope.toml import Checker
from tamperscope.train.augment import Augmentation

System = Literal["picture-net", "plain-cnn"]
SYSTEMS: tuple[System, ...] = ("picture-net", "plain-cnn")


@dataclass(frozen=True, slots=True)
class Net:
    """The network; see `models.picture_net` and `models.plain_cnn`."""

    backbone: str = ""
    """Of a picture-net."""
    width: float = 1.0
    """Multiplies the channels of a backbone. For a plain-cnn the channels themselves, a whole number."""
    depth: float = 1.0
    """Multiplies the layers of a backbone."""
    channel_attention: bool = True
    spatial_attention: bool = True
    dense: tuple[int, ...] = (256,)
    dropout: float = 0.3
    pretrained: Path | None = None
    """The state of timm's network as safetensors, say from ImageNet; from scratch if None."""


@dataclass(frozen=True, slots=True)
class Input:
    """The pictures; see `pictures.PictureSpec`."""

    side: int | None = None
    """The side for which the network was published if None."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    clahe: bool = False


@dataclass(frozen=True, slots=True)
class Training:
    """How long, and in which steps."""

    steps: int = 2000
    batch: int = 16
    """Pictures that are in memory at once, half of them forged."""
    accumulate: int = 1
    """Batches whose gradients are added up to a step."""
    rate: float = 1e-3
    minutes: float | None = None
    save_every: int = 100
    """Steps between two looks at the part calibrate, and between checkpoints."""
    patience: int = 10
    """Looks without a better one after which the training ends."""
    validate: int = 512
    """Slices of the part calibrate that are looked at, half of them forged; fewer where there are fewer."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of it."""

    name: str
    system: System
    manifest: Path | None = None
    """CSV or Parquet with the parts train and calibrate; None where it is given elsewhere."""
    net: Net = field(default_factory=Net)
    input: Input = field(default_factory=Input)
    augment: Augmentation = field(default_factory=Augmentation)
    train: Training = field(default_factory=Training)

    def to_json(self) -> dict[str, JSON]:
        """For records: without paths, which are of one machine."""
        tree: dict[str, Any] = asdict(self)
        del tree["manifest"]
        tree["net"]["pretrained"] = self.net.pretrained.name if self.net.pretrained else None
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
    try:
        return Recipe(
            called,
            system,
            _manifest(check, tree.get("data", {}), base),
            _net(check, tree.get("net", {}), system, base),
            _input(check, tree.get("input", {})),
            _augmentation(check, tree.get("augment", {})),
            _training(check, tree.get("train", {})),
        )
    except UsageError as error:
        raise error if error.message.startswith(name) else check.fail(error.message, error.hint) from error


def _manifest(check: Checker, table: Any, folder: Path) -> Path | None:
    check.keys(table, ("manifest",), "[data]")
    named = check.one(table, "manifest", str, None)
    return None if named is None else folder / named


def _net(check: Checker, table: Any, system: str, folder: Path) -> Net:
    default = Net(width=16.0, dropout=0.5) if system == "plain-cnn" else Net()
    known = ("width", "dropout") if system == "plain-cnn" else tuple(one.name for one in fields(Net))
    check.keys(table, known, f"[net] of a {system}")
    backbone, pretrained = (check.one(table, key, str, None) for key in ("backbone", "pretrained"))
    if system == "picture-net" and not backbone:
        raise check.fail("[net] names no backbone", 'add backbone = "efficientnet-b4", say')
    dense = check.numbers(table, "dense", default.dense)
    if not all(isinstance(units, int) and units > 0 for units in dense):
        raise check.fail(f"dense = {list(dense)!r}", "it is a list of numbers of units such as [256]")
    return Net(
        backbone or "",
        _positive(check, table, "width", default.width),
        _positive(check, table, "depth", default.depth),
        check.one(table, "channel_attention", bool, True),
        check.one(table, "spatial_attention", bool, True),
        tuple(int(units) for units in dense),
        _share(check, table, "dropout", default.dropout),
        None if pretrained is None else folder / pretrained,
    )


def _input(check: Checker, table: Any) -> Input:
    check.keys(table, [one.name for one in fields(Input)], "[input]")
    default = Input()
    window = check.numbers(table, "window_hu", default.window_hu)
    if len(window) != 2 or not window[0] < window[1]:
        raise check.fail(f"window_hu = {list(window)!r}", "it is the lowest and the highest value, [-1000, 400], say")
    low, high = window
    return Input(
        check.one(table, "side", int, None, least=1),
        (float(low), float(high)),
        check.one(table, "clahe", bool, default.clahe),
    )


def _augmentation(check: Checker, table: Any) -> Augmentation:
    default = Augmentation()
    check.keys(table, [one.name for one in fields(Augmentation)], "[augment]")
    amounts = {
        key: float(check.one(table, key, float, getattr(default, key)))
        for key in ("rotation_degrees", "brightness", "contrast", "noise")
    }
    return Augmentation(**amounts, flips=check.one(table, "flips", bool, default.flips))


def _training(check: Checker, table: Any) -> Training:
    default = Training()
    check.keys(table, [one.name for one in fields(Training)], "[train]")
    whole = {
        key: check.one(table, key, int, getattr(default, key), least=least)
        for key, least in (("steps", 1), ("accumulate", 1), ("save_every", 1), ("patience", 1), ("seed", 0))
    }
    pairs = {key: check.one(table, key, int, getattr(default, key), least=2) for key in ("batch", "validate")}
    minutes = None if "minutes" not in table else _positive(check, table, "minutes", 1.0)
    return Training(**whole, **pairs, rate=_positive(check, table, "rate", default.rate), minutes=minutes)


def _positive(check: Checker, table: Mapping[str, Any], key: str, default: float) -> float:
    value = float(check.one(table, key, float, default))
    if not 0.0 < value < float("inf"):
        raise check.fail(f"{key} = {value:g}", "it is a number above 0")
    return value


def _share(check: Checker, table: Mapping[str, Any], key: str, default: float) -> float:
    value = float(check.one(table, key, float, default))
    if not 0.0 <= value < 1.0:
        raise check.fail(f"{key} = {value:g}", "it is a share, 0 or more and below 1")
    return value


def _plain(value: Any) -> JSON:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    found: JSON = list(value) if isinstance(value, tuple) else value
    return found
