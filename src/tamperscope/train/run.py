"""A run of training: its record, its checkpoints and its clock, for networks that learn together."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from tamperscope.errors import UsageError, WeightsError
from tamperscope.records import JSON
from tamperscope.train.workers import ALONE, Crew


class Learner(Protocol):
    """Networks and optimisers that one step moves. All chance of a step comes from the generator it is given."""

    parts: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """Learn from one batch, the one after ``number`` others; returns the losses by name."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a run goes on: whichever ends first."""

    steps: int
    minutes: float | None = None
    """Of wall clock, those before an interruption included; the step that crosses the line is the last."""
    save_every: int = 100
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0


def fit(
    learner: Learner,
    budget: Budget,
    folder: Path,
    settings: Mapping[str, JSON],
    *,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[int, Mapping[str, float]], None] = lambda _, __: None,
    crew: Crew = ALONE,
) -> Progress:
    """Let ``learner`` learn, in place, until the budget is used up, or until ``stop`` says so after a checkpoint.

    ``folder`` receives ``record.jsonl`` (the settings, then a line of mean losses each time it saves) and
    ``last.safetensors``, from which the same call goes on. A step draws from a generator seeded by its own number, so
    an interrupted run ends with the same weights as one in a single piece of as many steps. ``note`` is told each line
    of means with its step. Of a ``crew`` the first process writes, and its clock counts.

    Raises:
        WeightsError: the checkpoint in ``folder`` is of other networks, or damaged.
        UsageError: the folder cannot be written.
    """
    done = _resume(learner, folder / "last.safetensors")
    if crew.leads:
        _open(folder)
        append(folder, {"settings": dict(settings), "budget": asdict(budget), "from": done.step})
    started, before = time.monotonic(), done.seconds
    losses: dict[str, list[float]] = defaultdict(list)
    while not _spent(done, budget) and not stop():
        for name, value in learner.step(done.step, crew.rng(budget.seed, done.step)).items():
            losses[name].append(value)
        done = Progress(done.step + 1, crew.agreed(before + time.monotonic() - started))
        if crew.leads and (done.step % budget.save_every == 0 or _spent(done, budget)):
            _save(learner, done, folder)
            means = {name: float(np.mean(values)) for name, values in losses.items()}
            append(folder, {**asdict(done), **means})
            note(done.step, means)
            say(f"step {done.step}, {done.seconds:.0f} s: " + ", ".join(f"{k} {v:.4g}" for k, v in means.items()))
            losses.clear()
    return done


def follow(average: nn.Module, net: nn.Module, decay: float, number: int) -> None:
    """Move ``average``, a copy of ``net``, towards it: an exponential moving average, short in the first steps."""
    decay = min(decay, (number + 1) / (number + 10))
    with torch.no_grad():
        for held, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if value.is_floating_point():
                held.lerp_(value, 1.0 - decay)
            else:
                held.copy_(value)


def _spent(done: Progress, budget: Budget) -> bool:
    late = budget.minutes is not None and done.seconds >= 60.0 * budget.minutes
    return late or done.step >= budget.steps


def _save(learner: Learner, done: Progress, folder: Path) -> None:
    tensors = {
        f"{part}.{name}": value for part, net in learner.parts.items() for name, value in net.state_dict().items()
    }
    for which, optimiser in learner.optimisers.items():
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{which}.{number}.{name}": value for name, value in state.items()}
    tensors |= {"step": torch.tensor(done.step), "seconds": torch.tensor(done.seconds, dtype=torch.float64)}
    write_tensors(folder / "last.safetensors", tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file of safetensors that appears whole or not at all.

    Raises:
        UsageError: it cannot be written; what was there before is left.
    """
    part = path.with_suffix(".part")
    try:
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _resume(learner: Learner, path: Path) -> Progress:
    if not path.exists():
        return Progress()
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "choose another run folder, or remove the file to begin anew"
        raise WeightsError(f"the checkpoint {path} is damaged: {error}", hint=hint) from error
    try:
        for part, net in learner.parts.items():
            net.load_state_dict({name: tensors[f"{part}.{name}"] for name in net.state_dict()})
        for which, optimiser in learner.optimisers.items():
            _restore(optimiser, tensors, f"optimiser.{which}.")
        return Progress(int(tensors["step"]), float(tensors["seconds"]))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{path} was made with other settings (the shapes of its weights differ)",
            hint="choose another run folder, or the width that it was begun with",
        ) from error


def _restore(optimiser: Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split(".", 1)
            state[int(number)][name] = value
    optimiser.load_state_dict({"state": dict(state), "param_groups": optimiser.state_dict()["param_groups"]})


def _open(folder: Path) -> None:
    """Make the folder, and take away a line of its record that a kill tore."""
    path = folder / "record.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)
    except OSError as error:
        raise _unwritable(path, error) from error


def append(folder: Path, line: Mapping[str, object]) -> None:
    """Add a line to the record of a run. Raises UsageError if the folder cannot be written."""
    path = folder / "record.jsonl"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> UsageError:
    why = getattr(error, "strerror", None) or error
    return UsageError(
        f"cannot write {path}: {why}",
        hint="make room, or choose a folder that you may write to; the same command goes on from the last checkpoint",
    )
