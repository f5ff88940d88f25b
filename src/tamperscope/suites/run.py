"""Train, judge and rank, or what is missing of it; each job in a process of its own."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from tamperscope import weights
from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Tick, digested, full_digest
from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate import leaderboard, leaderboard_page
from tamperscope.evaluate.run import selected
from tamperscope.records import JSON, Failure
from tamperscope.report.files import save
from tamperscope.suites.child import Children, Usage
from tamperscope.suites.jobs import Job, record, state
from tamperscope.suites.plan import Chain, Plan, learned, plan
from tamperscope.suites.suite import Data, chosen, read_suite
from tamperscope.suites.tables import tables

SUITE = "suite.toml"


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
        listed = (*learned(taught), *(replace(entry, part="test") for entry in judged))
    kept = made.out / "leaks" / f"{full_digest(listed)}.json"
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
        peaks = [peak for peak in (record(job, self.out).get("peak_bytes"), usage.peak_bytes) if peak]
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
    if usage.code == -signal.SIGKILL:
        return "ended by signal 9, most likely for want of memory"
    if usage.code < 0:
        return f"ended by signal {-usage.code}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line.partition(": ")[2] for line in lines if line.startswith("tamperscope: ")]
    return (said or lines or [f"exit code {usage.code}"])[-1].strip()
