"""Cards, and the weights that they promise: read, verify, open.

Packaged weights live in ``cards/``: ``NAME.json`` is the Card, ``NAME.onnx`` the network (absent for a detector that
has no network but is calibrated all the same), ``NAME.md`` the same for people.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamperscope import inputs, runtime
from tamperscope.calibrate import Calibration, Tail
from tamperscope.errors import WeightsError
from tamperscope.inputs import Input
from tamperscope.records import JSON

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SCHEMA = "tamperscope/card/1"
PACKAGED = Path(__file__).parent / "cards"


@dataclass(frozen=True, slots=True)
class Card:
    """What a set of weights promises."""

    name: str
    version: str
    input: Input
    calibration: Calibration
    file: str | None
    """The ONNX file beside the Card; None for a detector without a network."""
    sha256: str
    """Digest of that file, or of the calibration where there is none."""
    training: Mapping[str, JSON]
    """Data, patients, manifest digest, recipe, steps."""
    results: Mapping[str, JSON]
    """Measured figures, each with the command that prints it."""
    intended_use: str
    licence: str
    folder: Path = PACKAGED

    def to_json(self) -> str:
        """The Card as it is stored."""
        tree: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        del tree["folder"]
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def describe(card: Card) -> str:
    """The Card for people, as Markdown: what it is for, what it may judge, how often it errs, what was measured."""
    facts = {
        "File": f"`{card.file}`" if card.file else "none: a classical detector",
        "SHA-256": f"`{card.sha256}`" + ("" if card.file else " (of the calibration)"),
        "Licence": card.licence,
        **card.input.facts(),
        **{key.replace("_", " ").capitalize(): _sentence(value) for key, value in card.training.items()},
    }
    rates = "".join(f"| {rate:.1%} | {miss:.0%} |\n" for rate, miss in card.calibration.miss_rates)
    measured = "".join(_measured(name, value) for name, value in card.results.items())
    return (
        f"# {card.name}, version {card.version}\n\n{card.intended_use}\n\n| | |\n|---|---|\n"
        + "".join(f"| {key} | {value} |\n" for key, value in facts.items())
        + "\n## Error rates by calibration\n\nFitted on held-out authentic patients and on forgeries of them.\n\n"
        + f"| set to false alarms per authentic series | simulated forgeries missed |\n|---|---|\n{rates}"
        + f"\n## Measured\n\n{measured}"
    )


def _sentence(value: JSON) -> str:
    if isinstance(value, list):
        return f"{len(value)}: {', '.join(str(entry) for entry in value)}"
    return f"`{json.dumps(value)}`" if isinstance(value, dict) else str(value)


def _measured(name: str, value: JSON) -> str:
    """A result as a paragraph, or as a table with a row for each group."""
    title = name.replace("_", " ")
    if not isinstance(value, dict):
        return f"{title}: `{value}`\n\n"
    groups = {key: group for key, group in value.items() if isinstance(group, dict)}
    if not groups:
        return f"**{title}**: " + ", ".join(f"{key} {number}" for key, number in value.items()) + "\n\n"
    columns = list(dict.fromkeys(column for group in groups.values() for column in group))
    head = f"| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    rows = (f"| {key} | {' | '.join(str(group.get(c, '')) for c in columns)} |\n" for key, group in groups.items())
    return head + "".join(rows) + "\n"


def packaged() -> tuple[Card, ...]:
    """The Cards that come with the package, by name."""
    return tuple(read_card(path) for path in sorted(PACKAGED.glob("*.json")))


def read_card(path: Path) -> Card:
    """Read one Card.

    Raises:
        WeightsError: the file is missing, is no Card of this schema, or lacks a field.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree.pop("schema") != SCHEMA:
            raise WeightsError(f"{path} is not a Card of schema {SCHEMA}", hint="install matching versions")
        calibration = tree.pop("calibration")
        tail = Tail(**calibration.pop("tail"))
        misses = tuple((float(a), float(b)) for a, b in calibration.pop("miss_rates"))
        return Card(
            input=inputs.read(tree.pop("input")),
            calibration=Calibration(tail, **calibration, miss_rates=misses),
            folder=path.parent,
            **tree,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"cannot read the Card {path}: {error}", hint="install the package again") from error


def calibration_bytes(calibration: Calibration) -> bytes:
    """A calibration as bytes: what a Card without a network promises by its digest."""
    return json.dumps(asdict(calibration)).encode()


def verified(card: Card) -> bytes:
    """The bytes of a Card's network (of its calibration if it has none), once their digest was found as stated.

    Raises:
        WeightsError: no file, or other bytes than promised.
    """
    path = card.folder / (card.file or f"{card.name}.json")
    try:
        data = path.read_bytes() if card.file else calibration_bytes(card.calibration)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error}", hint="install the package again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise WeightsError(
            f"the weights {path} have SHA-256 {found}, their Card promises {card.sha256}",
            hint="the file was changed or damaged: install the package again",
        )
    return data


def session(card: Card, threads: int | None = None) -> InferenceSession:
    """Open the verified network in ONNX Runtime on the CPU, with ``threads`` threads (all available cores if None).

    Raises:
        WeightsError: as `verified`, or the Card has no network, or ONNX Runtime refuses the file.
    """
    return opened(verified(card), str(card.file), threads)


def opened(data: bytes, name: str, threads: int | None = None) -> InferenceSession:
    """Open the bytes of an ONNX file; ``name`` is what messages call it. See `session`.

    Raises:
        WeightsError: ONNX Runtime refuses them.
    """
    try:
        return runtime.session(data, threads or available_cores())
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise WeightsError(f"ONNX Runtime refuses {name}: {error}", hint="install matching versions") from error


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
