"""``tamperscope benchmark``: many models on many data sets under one protocol, and one leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.terminal import SOME_FAILED, progress, told

if TYPE_CHECKING:
    from collections.abc import Sequence


def benchmark(
    suite: Annotated[
        Path, typer.Argument(metavar="SUITE.toml", help="Models, data sets, seeds; see experiments/benchmark.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder: new, empty, or one of an earlier run.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes at once, which share the cores.")] = 1,
    only: Annotated[str, typer.Option(metavar="MODEL[,..]", help="Only these models of the suite.")] = "",
    listing: Annotated[
        bool, typer.Option("--list", help="Say what there is to do and what is done, and leave.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=0, help="Draws of patients for intervals and comparisons.")] = 1000,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train and judge every model of a suite on every data set, and rank them: leaderboard.html, .md, .csv and .json.

    Each job is a command of its own, kept with what it took. A run that was stopped goes on where it stopped, and one
    whose suite has grown does what is new. Exit codes: 0 done; 2 usage error, or a manifest that cannot be used; 4 some
    jobs failed (listed, and in the leaderboard with the reason), the others are done.
    """
    from tamperscope.report import words
    from tamperscope.suites import run

    names = [name.strip() for name in only.split(",")]
    with told():
        if listing:
            _list(suite, out, names, run.threads_of_each(jobs))
            return
        with progress(silent=quiet) as tick:
            outcome = run.run(suite, out, jobs=jobs, only=names, resamples=resamples, tick=tick)
    for failure in outcome.failed:
        typer.echo(words.visible(f"failed        {failure.source}: {failure.error}"), err=True)
    if not quiet:
        typer.echo(f"{outcome.done} of {outcome.jobs} jobs done, {outcome.made} of them now")
        typer.echo(words.visible(f"Leaderboard: {out / 'leaderboard.html'}"))
    raise typer.Exit(SOME_FAILED if outcome.failed else 0)


def _list(suite: Path, out: Path, names: Sequence[str], threads: int) -> None:
    """A line for each job of the models that are asked for."""
    from tamperscope.report import words
    from tamperscope.suites import run

    states = run.states(suite, out, names, threads)
    for job, state in states:
        typer.echo(words.visible(f"{state:<8}{job.command}"))
    typer.echo(f"{sum(state == 'done' for _, state in states)} of {len(states)} jobs done")
