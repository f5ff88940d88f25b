"""Many models on many data sets under one protocol: what has to be trained and judged, and doing it, resumably.

    suite (TOML) ─▶ plan ─┬─ Chain: training ─▶ judging, judging … ─┐
                          ├─ Chain: judging (a Card)                 ├─▶ tables ─▶ leaderboard.*
                          └─ …                                      ─┘

Training and judging are commands in processes of their own (`child`): memory is that of one model, a crash is that of
one model, and every row of the leaderboard comes with the commands that a person would give. The folder of a job
carries a digest of all that makes its result: what is there and matches is done, whatever the suite has come to say.

    OUT/suite.toml        a copy
    OUT/manifests/        what is trained on and judged where a generator is left out
    OUT/leaks/            which data sets were found not to leak
    OUT/pictures/         decoded pictures, which all trainings share
    OUT/runs/JOB/         a training, see `train.baseline`
    OUT/evaluations/JOB/  an evaluation, see `evaluate.evaluation`
    OUT/jobs/JOB.json     its command and what it took; JOB.log what it printed
    OUT/leaderboard.*     html, md, csv, json
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tamperscope import toml, weights
from tamperscope.child import Children, Usage
from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.errors import InputError, TamperscopeError, UsageError
from tamperscope.evaluate import leaderboard, leaderboard_page
from tamperscope.evaluate.baseline import MODEL
from tamperscope.evaluate.leaderboard import Costs, Entrant, Result, Table
from tamperscope.evaluate.run import ROWS, selected
from tamperscope.records import JSON, Failure
from tamperscope.report.files import save
from tamperscope.suite import Data, Model, Suite, chosen, read_suite

SUITE, HTML = "suite.toml", "evaluation.html"
LEARNED = ("train", "calibrate")
"""Parts that a training looks at."""


# --- what is to be done ---


@dataclass(frozen=True, slots=True)
class Split:
    """One table: what is judged of a data set, and the manifest that models are trained on for it."""

    data: Data
    left_out: str | None
    """The generator that is held out; None for the data set as it is."""
    judged: Path
    """A manifest of the suite, or a derived one."""
    train: Path | None
    cases: str
    """Digest of what is judged."""
    lessons: str
    """Digest of what is learned from."""

    @property
    def name(self) -> str:
        """As the table is called."""
        return self.data.name if self.left_out is None else f"{self.data.name} without {self.left_out}"


@dataclass(frozen=True, slots=True)
class Job:
    """A command and where its result goes."""

    name: str
    folder: Path
    words: tuple[str, ...]
    """Of the command, after ``tamperscope``."""
    files: tuple[str, ...]
    """What is in the folder when it has ended well."""

    @property
    def command(self) -> str:
        """As a person would type it."""
        return shlex.join(("tamperscope", *self.words))


@dataclass(frozen=True, slots=True)
class Judging:
    """One model, of one seed, on one split."""

    job: Job
    split: Split
    model: Model
    seed: int | None
    share: bool = False
    """The job judges the whole data set, and this split takes the answers to the generator that is left out."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A training, none for a Card, and what is judged by it."""

    training: Job | None
    judgings: tuple[Judging, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of it, in order."""
        first = () if self.training is None else (self.training,)
        return tuple(dict.fromkeys((*first, *(one.job for one in self.judgings))))


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a suite asks for."""

    suite: Suite
    out: Path
    splits: tuple[Split, ...]
    chains: tuple[Chain, ...]
    derived: dict[Path, tuple[tuple[Entry, ...], Path]] = field(default_factory=dict)
    """Manifests to be written: their entries, and the folder of the images."""
    manifests: dict[Path, table.Manifest] = field(default_factory=dict)
    """Those of the suite, as they were read."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every job, trainings before what is judged by them."""
        return tuple(job for chain in self.chains for job in chain.jobs)


def plan(suite: Suite, out: Path, threads: int = 1) -> Plan:
    """What a suite asks for, job by job; nothing is written.

    Raises:
        UsageError: a part or a generator that is not there.
        InputError: a manifest cannot be used.
    """
    made = Plan(suite, out, (), ())
    splits = tuple(split for data in suite.data for split in _splits(data, made))
    chains: dict[str, Chain] = {}
    for split in splits:
        for model in suite.models:
            if model.is_for(split.data):
                for seed in model.seeds or (None,):
                    _add(chains, split, model, seed, out, threads)
    return replace(made, splits=splits, chains=tuple(chains.values()))


def _splits(data: Data, made: Plan) -> Iterator[Split]:
    """The data set as it is, and once more for every generator that is left out."""
    judged = _joined([_manifest(path, made) for path in data.manifests])
    every = selected(judged.entries, data.part)
    taught = None if data.train is None else _manifest(data.train, made)
    lessons = () if taught is None else taught.entries
    alone = len(data.manifests) == 1
    whole = data.manifests[0] if alone else _derived(data, judged, "joined", lambda _: True, made)
    yield Split(data, None, whole, data.train, _identity(every), _identity(_learned(lessons)))
    known = sorted({entry.generator for entry in every} - {""})
    for name in data.leave_out:
        if name not in known:
            where = f"the data set {data.name}" if data.part is None else f"the part {data.part} of {data.name}"
            raise UsageError(f"{where} has no forgery by {name!r}", hint=f"there are {', '.join(known) or 'none'}")
        only = _derived(data, judged, f"only-{name}", partial(_only, name), made)
        rest = None if taught is None else _derived(data, taught, f"without-{name}", partial(_without, name), made)
        yield Split(
            data,
            name,
            only,
            rest,
            _identity(entry for entry in every if _only(name, entry)),
            _identity(entry for entry in _learned(lessons) if _without(name, entry)),
        )


def _manifest(path: Path, made: Plan) -> table.Manifest:
    """A manifest with the digests that it states; files are read where it states none."""
    if path not in made.manifests:
        found = table.read(path)
        whole = all(entry.sha256 for entry in found.entries)
        made.manifests[path] = found if whole else replace(found, entries=digested(found.entries))
    return made.manifests[path]


def _joined(listed: Sequence[table.Manifest]) -> table.Manifest:
    """Several manifests as one, below the folder that holds the images of all."""
    if len(listed) == 1:
        return listed[0]
    entries = [
        replace(entry, path=entry.path.resolve(), mask=None if entry.mask is None else entry.mask.resolve())
        for one in listed
        for entry in one.entries
    ]
    return table.Manifest(tuple(entries), Path(os.path.commonpath([one.root.resolve() for one in listed])))


def _derived(data: Data, source: table.Manifest, name: str, kept: Callable[[Entry], bool], made: Plan) -> Path:
    path = made.out / "manifests" / f"{_slug(data.name)}-{_slug(name)}.csv"
    made.derived[path] = tuple(entry for entry in source.entries if kept(entry)), source.root
    return path


def _only(generator: str, entry: Entry) -> bool:
    return entry.label == "authentic" or entry.generator == generator


def _without(generator: str, entry: Entry) -> bool:
    return entry.label == "authentic" or entry.generator != generator


def _learned(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.part in LEARNED]


def _add(chains: dict[str, Chain], split: Split, model: Model, seed: int | None, out: Path, threads: int) -> None:
    """Put a judging behind its training, which may be there for another split already.

    Where that has not met the generator that is left out in the first place, the data set need not be judged again.
    """
    training = None if model.recipe is None else _training(split, model, int(seed or 0), out)
    key = model.name if training is None else training.name
    chain = chains.setdefault(key, Chain(training, ()))
    for one in chain.judgings:
        if (one.split.data, one.model, one.seed) == (split.data, model, seed):
            shared = Judging(one.job, split, model, seed, share=True)
            chains[key] = replace(chain, judgings=(*chain.judgings, shared))
            return
    job = _judging(split, model, seed, chain.training, out, threads)
    chains[key] = replace(chain, judgings=(*chain.judgings, Judging(job, split, model, seed)))


def _judging(split: Split, model: Model, seed: int | None, training: Job | None, out: Path, threads: int) -> Job:
    made_by = training.name if training is not None else model.card and model.card.sha256
    label = model.name if seed is None else f"{model.name}-seed{seed}"
    name = f"{_slug(split.name)}-{_slug(label)}-{_digest(made_by, split.cases, split.data.part)}"
    weighed = model.called if training is None else str(training.folder)
    folder = out / "evaluations" / name
    words = ["evaluate", "--model", weighed, "--data", str(split.judged)]
    words += [] if split.data.part is None else ["--part", split.data.part]
    words += ["--out", str(folder), "--examples", "0", "--threads", str(threads)]
    return Job(name, folder, tuple(words), (ROWS, leaderboard.FIGURES, HTML))


def _training(split: Split, model: Model, seed: int, out: Path) -> Job:
    """The training of a recipe for a split; the same content gives the same name, wherever the files lie."""
    tree = toml.tree(toml.text(Path(str(model.path))), str(model.path), "")
    tree.pop("data", None)
    tree.get("train", {}).pop("seed", None)
    stem = f"{_slug(model.recipe.name if model.recipe else model.name)}-seed{seed}"
    name = f"{stem}-{_digest(tree, seed, split.lessons)}"
    folder = out / "runs" / name
    words: tuple[str, ...] = ("train", str(model.path), "--data", str(split.train), "--seed", str(seed))
    # `run` has looked for leaks, once for all models.
    words = (*words, "--out", str(folder), "--cache", str(out / "pictures"), "--allow-leaks")
    return Job(name, folder, words, (MODEL,))


def _identity(entries: Iterable[Entry]) -> str:
    """Digest over what is in the files and what is said of them, whatever they are called."""
    rows = sorted((one.sha256, one.patient, one.label, one.generator, one.part) for one in entries)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _digest(*words: Any) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:10]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


# --- how far it is ---


def state(job: Job, out: Path) -> str:
    """How far a job is: "done", "to do", or "failed: …" with the reason, to be tried again."""
    if all((job.folder / name).is_file() for name in job.files):
        return "done"
    error = _record(job, out).get("error")
    return f"failed: {error}" if error else "to do"


def _record(job: Job, out: Path) -> dict[str, Any]:
    """What is kept of the last run of a job; empty if it was never run to an end."""
    try:
        found = json.loads((out / "jobs" / f"{job.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# --- doing it ---


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    jobs: int
    """Of the models that were asked for."""
    done: int
    """There now."""
    made: int
    """In this run; the others were there."""
    failed: tuple[Failure, ...]


def run(
    suite_path: Path,
    out: Path,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    resamples: int = 1000,
    tick: Tick | None = None,
) -> Outcome:
    """Train, judge and rank, or what is missing of it. One run at a time in a folder.

    Args:
        suite_path: see `suite.read_suite`.
        out: a new or empty folder, or one in which a benchmark was begun; what the suite no longer asks for stays.
        jobs: processes at once, which share the cores.
        only: names of models; all if empty. The leaderboard lists the others as far as they are.
        resamples: draws of patients for the intervals.
        tick: told of progress, if given.

    Returns:
        How many jobs there are, and which failed: one that fails stops none but those that need it.

    Raises:
        UsageError: a wrong suite, or a folder that holds something else.
        InputError: a manifest cannot be used.
    """
    suite = read_suite(suite_path)
    names = chosen(suite, only)
    threads = threads_of_each(jobs)
    made = plan(suite, out, threads)
    prepare(made, suite_path)
    chains = [chain for chain in (_of(chain, names) for chain in made.chains) if chain.judgings]
    pending = [chain for chain in chains if any(state(job, out) != "done" for job in chain.jobs)]
    leaking = _leaking(made, pending, tick)
    wanted = {job.name: job for chain in chains for job in chain.jobs}
    before = sum(state(job, out) == "done" for job in wanted.values())
    failed = _run(pending, _Runner(out, threads, jobs, leaking, tick, len(wanted), before), jobs)
    done = sum(state(job, out) == "done" for job in wanted.values())
    board = leaderboard.board(suite.name, tables(made, leaking, resamples), resamples)
    for name, data in leaderboard_page.files(board).items():
        save(out / name, data)
    return Outcome(len(wanted), done, done - before, failed)


def states(suite_path: Path, out: Path, only: Sequence[str] = (), threads: int = 1) -> list[tuple[Job, str]]:
    """Every job of the models that are asked for with its `state`; nothing is written. Raises as `run` does."""
    suite = read_suite(suite_path)
    names = chosen(suite, only)
    chains = [_of(chain, names) for chain in plan(suite, out, threads).chains]
    return [(job, state(job, out)) for chain in chains if chain.judgings for job in chain.jobs]


def threads_of_each(jobs: int) -> int:
    """Threads for each of so many processes: what the environment says, else the cores divided."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() and int(stated) > 0 else max(1, weights.available_cores() // jobs)


def prepare(made: Plan, suite_path: Path) -> None:
    """A folder that is empty, or that another run began, gets the suite and the derived manifests.

    Raises:
        UsageError: the folder holds something else, or cannot be written.
    """
    out = made.out
    try:
        strange = out.exists() and not (out / SUITE).is_file() and any(out.iterdir())
    except OSError as error:
        raise UsageError(f"cannot use {out}: {error.strerror}", hint="choose another folder") from error
    if strange:
        raise UsageError(f"{out} holds something else than a benchmark", hint="choose a new or empty folder")
    save(out / SUITE, suite_path.read_bytes())
    for folder in ("jobs", "runs", "evaluations"):
        (out / folder).mkdir(exist_ok=True)
    for path, (entries, root) in made.derived.items():
        table.write(path, entries, root)


def _of(chain: Chain, names: Sequence[str]) -> Chain:
    return replace(chain, judgings=tuple(one for one in chain.judgings if one.model.name in names))


def _leaking(made: Plan, pending: Sequence[Chain], tick: Tick | None) -> dict[str, str]:
    """Why nothing is trained for a data set, by its name: its split leaks.

    Looked at once for each data set for which something is still to be trained or judged.
    """
    trained = {one.split.data.name for chain in pending if chain.training is not None for one in chain.judgings}
    found: dict[str, str] = {}
    for data in made.suite.data:
        if data.name in trained and not data.allow_leaks:
            try:
                _check_leaks(data, made, tick)
            except InputError as error:
                found[data.name] = str(error)
    return found


def _check_leaks(data: Data, made: Plan, tick: Tick | None) -> None:
    """That no patient, file or picture is both learned from and judged; what passed is remembered by its digest."""
    taught = made.manifests[Path(str(data.train))].entries
    listed = taught
    if data.manifests != (data.train,):
        judged = selected([one for path in data.manifests for one in made.manifests[path].entries], data.part)
        listed = (*_learned(taught), *(replace(entry, part="test") for entry in judged))
    kept = made.out / "leaks" / f"{_identity(listed)}.json"
    if not kept.is_file():
        leaks.check(digested(listed), tick=tick)
        save(kept, (json.dumps({"data": data.name, "files": len(listed), "leaks": 0}) + "\n").encode())


@dataclass(slots=True)
class _Runner:
    """Carries out chains, several at once, and keeps what each job took."""

    out: Path
    threads: int
    at_once: int
    leaking: dict[str, str]
    tick: Tick | None
    total: int
    done: int
    children: Children = field(default_factory=Children)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def chain(self, chain: Chain) -> list[Failure]:
        """Train, then judge; what a failure stops is counted with it."""
        reasons = {
            one.job: self.leaking.get(one.split.data.name) if chain.training is not None else None
            for one in chain.judgings
        }
        failed = [Failure(job.name, reason, "") for job, reason in reasons.items() if reason is not None]
        judgings = [job for job, reason in reasons.items() if reason is None]
        if chain.training is not None and judgings and state(chain.training, self.out) != "done":
            error = self._job(chain.training)
            if error is not None:
                return [*failed, Failure(chain.training.name, error, "")]
            for job in judgings:  # by weights that are gone
                shutil.rmtree(job.folder, ignore_errors=True)
        for job in judgings:
            error = self._job(job)
            failed += [] if error is None else [Failure(job.name, error, "")]
        return failed

    def _job(self, job: Job) -> str | None:
        """What went wrong, or None."""
        if state(job, self.out) == "done":
            return None
        self._told(job, 0)
        log = self.out / "jobs" / f"{job.name}.log"
        # -P: as the installed command, it takes no module from the folder in which it is started.
        command = (sys.executable, "-P", "-m", "tamperscope", *job.words)
        # Unbuffered, so that the log can be followed.
        environment = {"OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"}
        usage = self.children.run(command, log, environment)
        if self.children.ended:
            return "interrupted"
        whole = all((job.folder / name).is_file() for name in job.files)
        # 4 is that of an evaluation in which some series could not be read: the figures are of the others.
        error = None if whole and usage.code in (0, 4) else _reason(usage, log)
        self._keep(job, usage, error)
        self._told(job, 1)
        return error

    def _keep(self, job: Job, usage: Usage, error: str | None) -> None:
        peaks = [peak for peak in (_record(job, self.out).get("peak_bytes"), usage.peak_bytes) if peak]
        peaks = [float(peak) for peak in peaks if math.isfinite(peak)]
        kept: dict[str, JSON] = {
            "command": job.command,
            "code": usage.code,
            "error": error,
            "seconds": round(usage.seconds, 1),
            "peak_bytes": max(peaks, default=None),
            "threads": self.threads,
            "at_once": self.at_once,
        }
        save(self.out / "jobs" / f"{job.name}.json", (json.dumps(kept, indent=2) + "\n").encode())

    def _told(self, job: Job, more: int) -> None:
        with self.lock:
            self.done += more
            if self.tick is not None:
                self.tick(f"{'training' if job.words[0] == 'train' else 'judging'} {job.name}", self.done, self.total)


def _run(pending: Sequence[Chain], runner: _Runner, jobs: int) -> tuple[Failure, ...]:
    """Carry out the chains; when this is interrupted, what runs ends with it."""
    failed: list[Failure] = []
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        for future in as_completed([pool.submit(runner.chain, chain) for chain in pending]):
            failed += future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.children.end()
        pool.shutdown(wait=True)
    return tuple(failed)


def _reason(usage: Usage, log: Path) -> str:
    """Why a command failed: its own sentence, else its last line."""
    if usage.code < 0:
        return f"ended by signal {-usage.code}, most likely for want of memory"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line.partition(": ")[2] for line in lines if line.startswith("tamperscope: ")]
    return (said or lines or [f"exit code {usage.code}"])[-1].strip()


# --- what came of it ---


def tables(made: Plan, leaking: dict[str, str] | None = None, resamples: int = 1000) -> list[Table]:
    """A table for every split, with every model that is for it, as far as it is."""
    return [_table(split, made, leaking or {}, resamples) for split in made.splits]


def _table(split: Split, made: Plan, leaking: dict[str, str], resamples: int) -> Table:
    data = split.data
    mine = [(chain, one) for chain in made.chains for one in chain.judgings if one.split == split]
    entrants = []
    for model in made.suite.models:
        rows = [(chain, one) for chain, one in mine if one.model == model]
        if rows:
            problem = leaking.get(data.name) if model.recipe is not None else None
            entrants.append(_entrant(model, rows, made.out, problem, resamples))
    return Table(
        split.name,
        data.name,
        split.left_out,
        tuple(entrants),
        part=data.part,
        slice_split=data.slice_split,
        allow_leaks=data.allow_leaks,
        beside=made.suite.beside(data) if data.slice_split and split.left_out is None else None,
    )


def _entrant(
    model: Model, rows: Sequence[tuple[Chain, Judging]], out: Path, problem: str | None, resamples: int
) -> Entrant:
    results, problems, commands = [], [] if problem is None else [problem], dict[str, None]()
    for chain, one in rows:
        jobs = [job for job in (chain.training, one.job) if job is not None]
        states = [state(job, out) for job in jobs]
        commands |= dict.fromkeys(job.command for job in jobs)
        if all(each == "done" for each in states):
            try:
                result = Result.read(one.job.folder, one.seed, _costs(chain, one, out))
                results.append(result.of(str(one.split.left_out), resamples) if one.share else result)
                continue
            except TamperscopeError as error:
                states = [f"failed: {error}"]
        told = next((each for each in states if each != "done"), "")
        if told.startswith("failed: ") and told.removeprefix("failed: ") not in problems:
            problems.append(told.removeprefix("failed: "))
    system = None if model.recipe is None else model.recipe.system
    return Entrant(model.name, system, tuple(results), len(rows), tuple(problems), tuple(commands))


def _costs(chain: Chain, one: Judging, out: Path) -> Costs:
    judging = _record(one.job, out)
    taken = {"judging_bytes": judging.get("peak_bytes"), "threads": judging.get("threads")}
    if one.model.card is not None:
        return Costs(parameters=leaderboard.parameters(one.model.card), **taken)
    if chain.training is None:
        return Costs(**taken)
    facts = _training_facts(chain.training)
    return Costs(facts.get("parameters"), facts.get("seconds"), _record(chain.training, out).get("peak_bytes"), **taken)


def _training_facts(job: Job) -> dict[str, Any]:
    try:
        found = json.loads((job.folder / MODEL).read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
