"""A system from its recipe: leak check, training, calibration, export; what `evaluate.baseline` reads.

manifest ─ leaks.check ─▶ groups ─ systems.student ─ run.fit ─▶ model ─ calibration ─▶ networks, model.json
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Entry, Tick, digested, file_digest, full_digest
from tamperscope.errors import MissingExtraError, UnreadableError, UsageError, WeightsError
from tamperscope.evaluate.baseline import MODEL, Baseline, PlattCurve
from tamperscope.evaluate.systems import System
from tamperscope.records import JSON
from tamperscope.report.files import save
from tamperscope.train import slices, workers
from tamperscope.train.augment import contact_sheet
from tamperscope.train.board import Board
from tamperscope.train.classifier import Classifier
from tamperscope.train.curves import curves
from tamperscope.train.environment import Code, environment
from tamperscope.train.forecast import Forecast
from tamperscope.train.options import SYSTEMS
from tamperscope.train.recipe import Recipe
from tamperscope.train.run import Budget, append, fit, write_tensors
from tamperscope.train.systems import Lesson, Student, prove, student
from tamperscope.train.systems.pictures import WEIGHTS, PictureStudent
from tamperscope.train.workers import ALONE, Crew

RUN = "run.json"
BEST = "best.safetensors"
RECORD = "record.jsonl"
CURVES = "curves.png"
DIFF = "code.diff"
"""What the code was changed by since its last commit."""
TRIED = 4
"""Series of each label that a trial reads."""
SHOWN = 6
"""Pictures on the sheet of augmentations."""
FALSE_ALARMS = 0.01


Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training would take, from a trial of two steps."""

    minutes: float
    """At most: all steps or the recipe's own limit, with reading, the looks at the part calibrate, export and
    calibration. The search for leaks is over when this is said."""
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


@dataclass(frozen=True, slots=True)
class Job:
    """One training: of what, where to, by whom."""

    recipe: Recipe
    out: Path
    manifest: str
    """Digest of all that was given to learn from."""
    device: str = "cpu"
    crew: Crew = ALONE
    tensorboard: bool = False
    say: Say = quiet
    tick: Tick | None = None


def train(
    recipe: Recipe,
    out: Path,
    *,
    allow_leaks: bool = False,
    device: str | None = None,
    cache: Path | None = None,
    tensorboard: bool = False,
    say: Say = quiet,
    tick: Tick | None = None,
) -> Path:
    """Train, calibrate and export; the same call goes on with an interrupted run.

    Args:
        recipe: what to train on what.
        out: folder of the run, made if it is missing.
        allow_leaks: train although a patient, file or picture is in two parts.
        device: "cpu" or "cuda"; a GPU if there is one, if None.
        cache: folder that keeps decoded pictures for the next training on the same files, if given.
        tensorboard: keep the record for TensorBoard too.
        say: told a line at each checkpoint.
        tick: told of progress.

    Returns:
        The ``model.json`` of the run.

    Raises:
        UsageError: the folder holds a run of another recipe or manifest, or cannot be written.
        InputError: the manifest leaks, lacks a part or a class, or a series cannot be read.
        TrainingError: the loss is no number, or memory ran out.
        WeightsError: the checkpoint is damaged, or the exported file answers otherwise than torch.
        MissingExtraError: TensorBoard is not installed.
    """
    where = device or default_device()
    writable(out)
    with workers.joined(where) as crew:
        entries = checked(recipe, allow_leaks=allow_leaks, tick=tick, pixels=crew.leads)
        job = Job(recipe, out, full_digest(entries), where, crew, tensorboard, say if crew.leads else quiet, tick)
        claim = claimed(job)
        learner = student(recipe, replace(lesson(entries, where, tick), cache=cache))
        return concluded(learner, job, claim)


def concluded(
    learner: Student, job: Job, claim: bytes, judge: Callable[[System], Mapping[str, JSON]] = lambda _: {}
) -> Path:
    """Let a system learn that has read its series, calibrate it, and write what `evaluate.baseline` reads.

    Args:
        learner: the system.
        job: what is trained, and where to.
        claim: see `claimed`.
        judge: looks at the trained system before any file of it is written; what it says goes into the record.

    Returns:
        The ``model.json`` of the run, written by the first process.

    Raises:
        As `train`, and what ``judge`` raises.
    """
    if learner.classifier is None and job.crew.count > 1:
        raise UsageError(f"a {job.recipe.system} is fitted at once, by one process", hint="leave torchrun out")
    facts: dict[str, JSON] = {"recipe": job.recipe.to_json(), "slices": _plain(learner.counts), **_made_with(job)}
    if job.crew.leads:
        save(job.out / RUN, claim)
    if learner.classifier is not None:
        facts |= _fitted(learner.classifier, job, facts)
    if job.crew.leads:
        _write(learner, job, facts, judge)
    return job.out / MODEL


def _write(learner: Student, job: Job, facts: dict[str, JSON], judge: Callable[[System], Mapping[str, JSON]]) -> None:
    """The networks of a system that has learned, then the ``model.json`` that promises them."""
    started = time.monotonic()
    model = learner.model()
    facts = {"seconds": round(time.monotonic() - started, 1), **facts, **model.facts, **judge(model.system)}
    curve = PlattCurve.fit(*learner.scores(model.system))
    job.say(f"threshold {curve.told(FALSE_ALARMS)}")
    files = model.system.networks.files
    baseline = Baseline(
        job.recipe.name,
        job.recipe.system,
        model.system.look,
        model.system.settings,
        learner.modalities,
        curve,
        {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        job.manifest,
        facts,
    )
    for name, data in files.items():
        save(job.out / name, data)
    save(job.out / MODEL, baseline.to_json(FALSE_ALARMS).encode())


def try_out(
    recipe: Recipe, *, allow_leaks: bool = False, device: str | None = None, tick: Tick | None = None
) -> Estimate:
    """Two steps on a few series, nothing written: what the whole would take. Raises as `train` does."""
    entries, where = checked(recipe, allow_leaks=allow_leaks, tick=tick), device or default_device()
    every, started = lesson(entries, where, tick), time.monotonic()
    learner = student(recipe, Lesson(every.taught, every.held, where, tick, TRIED))
    held = sum(int(part["authentic_series"]) + int(part["forged_series"]) for part in learner.counts.values())
    series = len(every.taught) + len(every.held)
    share = series / held
    reading = (time.monotonic() - started) * share
    learning = 0.0 if learner.classifier is None else _lasting(learner.classifier, learner.shown, recipe)
    started = time.monotonic()
    system = learner.model().system
    making = time.monotonic() - started
    judging = _timed(partial(learner.scores, system)) * share
    # What is fitted at once learns as it is made; a network is only exported then.
    learning += making * (share if learner.classifier is None else 1.0)
    memory = _peak(where) + (0.0 if where == "cuda" else learner.nbytes * share)
    return Estimate((reading + learning + judging) / 60.0, memory / 2**20, where, series)


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


def checked(
    recipe: Recipe, *, allow_leaks: bool = False, tick: Tick | None = None, pixels: bool = True
) -> tuple[Entry, ...]:
    """The entries of the recipe's manifest, with digests, once it was found not to leak.

    ``pixels`` says whether pictures are compared as well as patients and files.

    Raises:
        UsageError: the recipe names no manifest, or a network that cannot be made.
        MissingExtraError: the system needs a package that is not installed.
        InputError: the manifest cannot be read, leaks, or lacks a class in a part.
        WeightsError: a file that the recipe names is not there.
    """
    if recipe.manifest is None:
        raise UsageError(f"the recipe {recipe.name} names no manifest", hint="add [data] manifest, or say --data")
    needs = SYSTEMS[recipe.system].needs
    if needs is not None and find_spec(needs[0]) is None:
        raise MissingExtraError(*needs)
    _present(recipe)
    prove(recipe)
    entries = digested(table.read(recipe.manifest).entries, tick)
    leaks.check(entries, allow_leaks=allow_leaks, pixels=False)
    lesson(entries, "cpu", None)
    if pixels and not allow_leaks:
        leaks.check(entries, tick=tick)
    return entries


def writable(out: Path) -> None:
    """That the folder of a run can be made and written, before anything is read.

    Raises:
        UsageError: it cannot.
    """
    there = next(one for one in (out, *out.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write the run folder {out}", hint="choose a folder that you may write to")


def _present(recipe: Recipe) -> None:
    """That the files are there which the network starts from, before anything is read."""
    for one in fields(recipe.net):
        value = getattr(recipe.net, one.name)
        if isinstance(value, Path) and value.suffix == WEIGHTS and not value.is_file():
            raise WeightsError(
                f"the recipe's {one.name} names {value}, and there is no such file",
                hint=f"give a file, or leave {one.name} out to start from scratch",
            )


def lesson(entries: tuple[Entry, ...], device: str, tick: Tick | None) -> Lesson:
    """The series of a manifest to learn from.

    Raises:
        InputError: a part is missing or lacks a class.
    """
    taught, held = (slices.grouped(entries, part) for part in ("train", "calibrate"))
    return Lesson(taught, held, device, tick)


def _fitted(learner: Classifier, job: Job, settings: Mapping[str, JSON]) -> dict[str, JSON]:
    """Train to the end, keep the best weights, and say how it went."""
    plan, out, record = job.recipe.train, job.out, job.out / RECORD
    budget = Budget(plan.steps, plan.minutes, plan.save_every, plan.seed)
    board = Board(out) if job.tensorboard and job.crew.leads else None
    learner.crew, forecast = job.crew, Forecast(plan, job.say)

    def stop() -> bool:
        forecast(learner.done)
        if job.tick is not None:
            job.tick("training", learner.done, plan.steps)
        return learner.stopped()

    def note(step: int, means: Mapping[str, float]) -> None:
        if board is not None:
            board.note(step, means)

    if job.crew.leads:
        _draw(record, None)
    done = fit(learner, budget, out, settings, say=job.say, stop=stop, note=note, crew=job.crew)
    if int(learner.standing.looked) != done.step:
        seen = learner.look(done.step)
        job.say(f"step {done.step}: {learner.measure} {seen:.4g}")
        if job.crew.leads:
            append(out, {"step": done.step, "seconds": done.seconds, learner.measure: seen})
    if job.crew.leads:
        write_tensors(out / BEST, learner.best.state_dict())
        _draw(record, int(learner.standing.step))
    if board is not None:
        board.close()
    return {
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "best_step": int(learner.standing.step),
        "best": {learner.measure: float(learner.standing.best)},
        "parameters": sum(one.numel() for one in learner.best.parameters()),
        "best_sha256": file_digest(out / BEST) if job.crew.leads else None,
    }


def _draw(record: Path, best: int | None) -> None:
    """The curves of a record beside it, if it holds any yet."""
    drawn = curves(record, best)
    if drawn is not None:
        save(record.with_name(CURVES), drawn)


def _lasting(classifier: Classifier, shown: int, recipe: Recipe) -> float:
    """Seconds of all steps and looks, from two steps and a look at ``shown`` inputs."""
    plan = recipe.train
    step = min(_timed(partial(classifier.step, number, np.random.default_rng(number))) for number in (0, 1))
    look = _timed(lambda: classifier.look(2)) / max(shown, 1) * plan.validate
    return min(plan.steps * step + plan.steps // plan.save_every * look, 60.0 * (plan.minutes or math.inf))


def _plain(counts: Mapping[str, Mapping[str, int]]) -> JSON:
    return {part: dict(found) for part, found in counts.items()}


def _made_with(job: Job) -> dict[str, JSON]:
    """Code, libraries and machine; what the code was changed by lies in the run folder as a file."""
    code = Code.running()
    if code.diff and job.crew.leads:
        save(job.out / DIFF, code.diff)
    found: dict[str, JSON] = {"code": code.to_json(), **environment(job.device)}
    return found if job.crew.count == 1 else {**found, "workers": job.crew.count}


def claimed(job: Job, **more: JSON) -> bytes:
    """What the folder says of whose run it holds; how long a run goes on may change.

    Raises:
        UsageError: it says something else already.
        UnreadableError: it says nothing that can be read.
    """
    recipe, path = job.recipe, job.out / RUN
    plan = {key: value for key, value in asdict(recipe.train).items() if key not in ("steps", "minutes")}
    mine = {**recipe.to_json(), "train": plan, "manifest": job.manifest, **more}
    if job.crew.count > 1:  # with another number of processes, the same steps see other batches
        mine["workers"] = job.crew.count
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else mine
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="choose another run folder") from error
    if known != mine:
        differ = sorted(key for key in mine.keys() | known.keys() if known.get(key) != mine.get(key))
        raise UsageError(
            f"{job.out} holds a run of another recipe or manifest: {', '.join(differ)}",
            hint="choose another run folder",
        )
    return (json.dumps(mine, indent=2) + "\n").encode()


def default_device() -> str:
    """A GPU if there is one."""
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
