"""A system from its recipe: leak check, training, calibration, export; what `evaluate.baseline` reads.

manifest ─ leaks.check ─▶ groups ─ systems.student ─ run.fit ─▶ model ─ calibration ─▶ networks, model.json
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import tamperscope
from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Entry, Tick, digest, digested
from tamperscope.errors import MissingExtraError, UnreadableError, UsageError
from tamperscope.evaluate.baseline import MODEL, Baseline, PlattCurve
from tamperscope.records import JSON
from tamperscope.report.files import save
from tamperscope.train import slices
from tamperscope.train.augment import contact_sheet
from tamperscope.train.classifier import Classifier
from tamperscope.train.options import SYSTEMS
from tamperscope.train.recipe import Recipe
from tamperscope.train.run import Budget, Progress, fit
from tamperscope.train.systems import Lesson, student
from tamperscope.train.systems.pictures import PictureStudent

RUN = "run.json"
BEST = "best.safetensors"
TRIED = 4
"""Series of each label that a trial reads."""
SHOWN = 6
"""Pictures on the sheet of augmentations."""
FALSE_ALARMS = 0.01


def quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training would take, from a trial of two steps."""

    minutes: float
    """At most: all steps or the recipe's own limit, with reading and the looks at the part calibrate."""
    memory_mib: float
    device: str
    series: int

    def __str__(self) -> str:
        """As a sentence."""
        place = "of the GPU" if self.device == "cuda" else "of the machine"
        return (
            f"about {self.minutes:.1f} minutes at most and {self.memory_mib:,.0f} MiB {place} "
            f"for {self.series} series, on {self.device}"
        )


def train(
    recipe: Recipe,
    out: Path,
    *,
    allow_leaks: bool = False,
    device: str | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = quiet,
    tick: Tick | None = None,
) -> Path:
    """Train, calibrate and export; the same call goes on with an interrupted run.

    Args:
        recipe: what to train on what.
        out: folder of the run, made if it is missing.
        allow_leaks: train although a patient, file or picture is in two parts.
        device: "cpu" or "cuda"; a GPU if there is one, if None.
        cache: folder that keeps decoded pictures for the next training on the same files, if given.
        say: told a line at each checkpoint.
        tick: told of progress.

    Returns:
        The ``model.json`` of the run.

    Raises:
        UsageError: the folder holds a run of another recipe or manifest.
        InputError: the manifest leaks, lacks a part or a class, or a series cannot be read.
        TrainingError: the loss is no number, or memory ran out.
        WeightsError: the checkpoint is damaged, or the exported file answers otherwise than torch.
    """
    entries = checked(recipe, allow_leaks=allow_leaks, tick=tick)
    claim, where = _claim(out, recipe, digest(entries)), device or _device()
    learner = student(recipe, replace(lesson(entries, where, tick), cache=cache))
    save(out / RUN, claim)
    facts: dict[str, JSON] = {"recipe": recipe.to_json(), "slices": _plain(learner.counts), **_environment(where)}
    if learner.classifier is not None:
        facts |= _fitted(learner.classifier, recipe, out, facts, say, tick)
    started = time.monotonic()
    model = learner.model()
    facts = {"seconds": round(time.monotonic() - started, 1), **facts, **model.facts}
    curve = PlattCurve.fit(*learner.scores(model.system))
    say(f"threshold {curve.told(FALSE_ALARMS)}")
    files = model.system.networks.files
    baseline = Baseline(
        recipe.name,
        recipe.system,
        model.system.look,
        model.system.settings,
        learner.modalities,
        curve,
        {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        digest(entries),
        facts,
    )
    for name, data in files.items():
        save(out / name, data)
    save(out / MODEL, baseline.to_json(FALSE_ALARMS).encode())
    return out / MODEL


def try_out(
    recipe: Recipe, *, allow_leaks: bool = False, device: str | None = None, tick: Tick | None = None
) -> Estimate:
    """Two steps on a few series, nothing written: what the whole would take. Raises as `train` does."""
    entries, where = checked(recipe, allow_leaks=allow_leaks, tick=tick), device or _device()
    every, started = lesson(entries, where, tick), time.monotonic()
    learner = student(recipe, Lesson(every.taught, every.held, where, tick, TRIED))
    held = sum(int(part["authentic_series"]) + int(part["forged_series"]) for part in learner.counts.values())
    series = len(every.taught) + len(every.held)
    reading = (time.monotonic() - started) / held * series
    if learner.classifier is None:
        learning = _timed(learner.model) / held * series
    else:
        learning = _lasting(learner.classifier, learner.shown, recipe)
    memory = _peak(where) + (0.0 if where == "cuda" else learner.nbytes / held * series)
    return Estimate((reading + learning) / 60.0, memory / 2**20, where, series)


def sheet_to(recipe: Recipe, path: Path, *, allow_leaks: bool = False, tick: Tick | None = None) -> None:
    """Draw what the augmentation of a recipe does to slices of its part train, as PNG. Raises as `train` does."""
    every = lesson(checked(recipe, allow_leaks=allow_leaks, tick=tick), "cpu", tick)
    learner = student(recipe, Lesson(every.taught, every.held, "cpu", tick, TRIED))
    if not isinstance(learner, PictureStudent):
        raise UsageError(f"a {recipe.system} augments no pictures", hint="there is nothing to show")
    rng = np.random.default_rng(recipe.train.seed)
    stream = io.BytesIO()
    contact_sheet(learner.pictures(SHOWN, rng), recipe.augment, rng).save(stream, "PNG")
    save(path, stream.getvalue())


def checked(recipe: Recipe, *, allow_leaks: bool = False, tick: Tick | None = None) -> tuple[Entry, ...]:
    """The entries of the recipe's manifest, with digests, once it was found not to leak.

    Raises:
        UsageError: the recipe names no manifest.
        MissingExtraError: the system needs a package that is not installed.
        InputError: the manifest cannot be read, leaks, or lacks a class in a part.
    """
    if recipe.manifest is None:
        raise UsageError(f"the recipe {recipe.name} names no manifest", hint="add [data] manifest, or say --data")
    needs = SYSTEMS[recipe.system].needs
    if needs is not None and find_spec(needs[0]) is None:
        raise MissingExtraError(*needs)
    entries = digested(table.read(recipe.manifest).entries, tick)
    leaks.check(entries, allow_leaks=allow_leaks, pixels=False)
    lesson(entries, "cpu", None)
    leaks.check(entries, allow_leaks=allow_leaks, pixels=not allow_leaks, tick=tick)
    return entries


def lesson(entries: tuple[Entry, ...], device: str, tick: Tick | None) -> Lesson:
    """The series of a manifest to learn from.

    Raises:
        InputError: a part is missing or lacks a class.
    """
    taught, held = (slices.grouped(entries, part) for part in ("train", "calibrate"))
    return Lesson(taught, held, device, tick)


def _fitted(
    learner: Classifier,
    recipe: Recipe,
    out: Path,
    settings: dict[str, JSON],
    say: Callable[[str], None],
    tick: Tick | None,
) -> dict[str, JSON]:
    """Train to the end, keep the best weights, and say how it went."""
    plan = recipe.train
    budget = Budget(plan.steps, plan.minutes, plan.save_every, plan.seed)

    def stop() -> bool:
        if tick is not None:
            tick("training", learner.done, plan.steps)
        return learner.stopped()

    done: Progress = fit(learner, budget, out, settings, say=say, stop=stop)
    if int(learner.standing.looked) != done.step:
        say(f"step {done.step}: {learner.measure} {learner.look(done.step):.4g}")
    save_file({key: value.cpu().contiguous() for key, value in learner.best.state_dict().items()}, out / BEST)
    return {
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "best_step": int(learner.standing.step),
        "best": {learner.measure: float(learner.standing.best)},
        "parameters": sum(one.numel() for one in learner.best.parameters()),
    }


def _lasting(classifier: Classifier, shown: int, recipe: Recipe) -> float:
    """Seconds of all steps and looks, from two steps and a look at ``shown`` inputs."""
    plan = recipe.train
    step = min(_timed(partial(classifier.step, number, np.random.default_rng(number))) for number in (0, 1))
    look = _timed(lambda: classifier.look(2)) / max(shown, 1) * plan.validate
    return min(plan.steps * step + plan.steps // plan.save_every * look, 60.0 * (plan.minutes or math.inf))


def _plain(counts: Mapping[str, Mapping[str, int]]) -> JSON:
    return {part: dict(found) for part, found in counts.items()}


def _environment(device: str) -> dict[str, JSON]:
    return {
        "tamperscope": tamperscope.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _claim(out: Path, recipe: Recipe, manifest: str) -> bytes:
    """What the folder says of whose run it holds; how long a run goes on may change.

    Raises:
        UsageError: it says something else already.
        UnreadableError: it says nothing that can be read.
    """
    plan = {key: value for key, value in asdict(recipe.train).items() if key not in ("steps", "minutes")}
    mine = {**recipe.to_json(), "train": plan, "manifest": manifest}
    path = out / RUN
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else mine
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="choose another run folder") from error
    if known != mine:
        differ = sorted(key for key in mine.keys() | known.keys() if known.get(key) != mine.get(key))
        raise UsageError(
            f"{out} holds a run of another recipe or manifest: {', '.join(differ)}", hint="choose another run folder"
        )
    return (json.dumps(mine, indent=2) + "\n").encode()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - started


def _peak(device: str) -> float:
    """Bytes that this process has held at most, on the GPU or on the machine; NaN where nobody says."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return math.nan
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else 1024 * most)
