"""What came of a benchmark: a table for every split, with every model that is for it, as far as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamperscope.errors import TamperscopeError
from tamperscope.evaluate import leaderboard
from tamperscope.evaluate.baseline import MODEL
from tamperscope.evaluate.leaderboard import Costs, Entrant, Result, Table
from tamperscope.suites.jobs import Job, record, state
from tamperscope.suites.plan import Chain, Judging, Plan, Split
from tamperscope.suites.suite import Model


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
    judging = record(one.job, out)
    taken = {"judging_bytes": judging.get("peak_bytes"), "threads": judging.get("threads")}
    if one.model.card is not None:
        return Costs(parameters=leaderboard.parameters(one.model.card), **taken)
    if chain.training is None:
        return Costs(**taken)
    facts = _training_facts(chain.training)
    return Costs(facts.get("parameters"), facts.get("seconds"), record(chain.training, out).get("peak_bytes"), **taken)


def _training_facts(job: Job) -> dict[str, Any]:
    try:
        found = json.loads((job.folder / MODEL).read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
