"""Trained models by name: a folder of the user's, with a verified copy of each run that was imported.

It is what ``TAMPERSCOPE_MODELS`` names, else ``tamperscope/models`` in the folder for data of users
(``XDG_DATA_HOME``, by the XDG Base Directory Specification ``~/.local/share``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tamperscope import weights
from tamperscope.errors import UsageError, WeightsError
from tamperscope.evaluate.baseline import MODEL, Baseline, BaselineDetector, read_baseline
from tamperscope.records import JSON

VARIABLE = "TAMPERSCOPE_MODELS"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,79}")
WEIGHTS = "best.safetensors"
"""From which a training goes on; see `train.continual`."""
PARITY = "difference"
"""What a record calls by how much the file and what was trained answer differently begins with this."""
LARGEST_DIFFERENCE = 1e-4
PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill", ".npy", ".npz"})
"""Files that can hold a pickle, which runs whatever its author likes when it is read."""


def home() -> Path:
    """Where the models are; it may not exist."""
    stated, data = os.environ.get(VARIABLE), os.environ.get("XDG_DATA_HOME")
    if stated:
        return Path(stated)
    return (Path(data) if data else Path.home() / ".local" / "share") / "tamperscope" / "models"


def names() -> tuple[str, ...]:
    """Of all models there."""
    return tuple(sorted(path.parent.name for path in home().glob(f"[!.]*/{MODEL}")))


def found(name: str) -> Path | None:
    """The folder of a model, if there is one of this name."""
    folder = home() / name
    return folder if NAME.fullmatch(name) and (folder / MODEL).is_file() else None


def add(run: Path, name: str | None = None, *, force: bool = False) -> str:
    """Copy the model of a training into the store, once it was verified. It appears whole or not at all.

    Args:
        run: the folder of a training, or its ``model.json``.
        name: what to call it; as its recipe does if None.
        force: replace a model of this name.

    Returns:
        Its name.

    Raises:
        WeightsError: no whole training, a network that is not the promised one, no parity with what was trained, or
            a file that may be a pickle.
        UsageError: a name that is taken or cannot be one, or a store that cannot be written.
    """
    folder = run.parent if run.name == MODEL else run
    if not folder.is_dir():
        raise UsageError(
            f"{run} is no training",
            hint=f"give a run folder or its {MODEL}; evaluate takes the JSON of a Card as it is",
        )
    model = BaselineDetector(folder, threads=1).baseline
    _no_pickles(folder)
    _same_as_trained(model, folder)
    called = name or model.name
    _free(called, force=force)
    _place(called, {MODEL: (folder / MODEL).read_bytes(), **_files(folder, model)})
    return called


def described(folder: Path) -> str:
    """The model of a folder for people, as Markdown.

    Raises:
        WeightsError: there is none.
    """
    model = read_baseline(folder)
    said, point = model.training, model.curve.operating_point(0.01)
    recipe = said.get("recipe", {})
    facts: dict[str, Any] = {
        "System": model.system,
        "Looks at": f"{model.look}: {_listed(model.settings)}",
        "May judge": ", ".join(model.modalities),
        "Threshold": f"probability {point.threshold:.4f}, {model.curve.told(0.01)}",
        "Trained on": f"manifest `{model.manifest}`",
        **{f"Part {part}": _listed(counts) for part, counts in said.get("slices", {}).items()},
        "Network": _listed(recipe.get("net", {})),
        "Training": _listed(recipe.get("train", {})),
        "Steps": said.get("steps"),
        "Best": f"{_listed(said['best'])} after {said.get('best_step')} steps" if "best" in said else None,
        "Parameters": said.get("parameters"),
        "Code": _listed(said.get("code", {})),
        **{key.replace("_", " ").capitalize(): value for key, value in said.items() if key.startswith(PARITY)},
        **{f"File {name}": f"`{digest}`" for name, digest in model.files.items()},
    }
    rows = "".join(f"| {key} | {value} |\n" for key, value in facts.items() if value not in (None, ""))
    return f"# {model.name}\n\nTrained with `tamperscope train`. Research use only.\n\n| | |\n|---|---|\n{rows}"


def _listed(values: Mapping[str, JSON]) -> str:
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in values.items() if value not in (None, [], {}))


def _no_pickles(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES and path.is_file():
            raise WeightsError(
                f"{path} may be a pickle, which runs code when it is read",
                hint="tamperscope writes none: take it out of the folder, and ask where it came from",
            )


def _same_as_trained(model: Baseline, folder: Path) -> None:
    parity = [value for key, value in model.training.items() if key.startswith(PARITY)]
    if not parity or not all(
        isinstance(one, int | float) and math.isfinite(one) and one < LARGEST_DIFFERENCE for one in parity
    ):
        raise WeightsError(
            f"{folder} does not record that its file answers as what was trained (below {LARGEST_DIFFERENCE:g})",
            hint="train it again with this version",
        )


def _files(folder: Path, model: Baseline) -> dict[str, bytes]:
    """The networks, which have been verified, and the weights to go on from, if they are the recorded ones."""
    found = {name: (folder / name).read_bytes() for name in model.files}
    path = folder / WEIGHTS
    data = path.read_bytes() if path.is_file() else b""
    if data and hashlib.sha256(data).hexdigest() == model.training.get("best_sha256"):
        found[WEIGHTS] = data
    return found


def _free(name: str, *, force: bool) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a name", hint="say --as NAME: letters, digits, dots, dashes")
    if name in {card.name for card in weights.packaged()}:
        raise UsageError(f"{name} comes with the package", hint="say --as ANOTHER")
    if found(name) is not None and not force:
        raise UsageError(f"there is a model {name} in {home()}", hint="say --as ANOTHER, or --force to replace it")


def _place(name: str, files: Mapping[str, bytes]) -> None:
    """Write a folder beside its place, then move it there."""
    place, token = home() / name, secrets.token_hex(8)
    fresh, former = (place.with_name(f".{name}.{token}.{which}") for which in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        for file, data in files.items():
            (fresh / file).write_bytes(data)
        if place.exists():
            place.rename(former)
        fresh.rename(place)
    except OSError as error:
        if former.exists() and not place.exists():
            former.rename(place)
        hint = f"choose a folder that you may write to with {VARIABLE}"
        raise UsageError(f"cannot write {place}: {error.strerror or error}", hint=hint) from error
    finally:
        for left in (fresh, former):
            shutil.rmtree(left, ignore_errors=True)
