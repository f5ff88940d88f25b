"""``tamperscope forge-set``: a benchmark set from many studies and a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamperscope.commands.terminal import SOME_FAILED, progress, told

"""The exit code that a scan has too where a part of its input failed."""


def forge_set(
    paths: Annotated[list[Path], typer.Argument(metavar="STUDIES", help="Authentic studies: folders, files, zips.")],
    recipe: Annotated[Path, typer.Option("--recipe", help="TOML file: what to make, how often, of which share.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the set: new, empty, or begun by this recipe.")],
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; one a core if left out.")] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Largest series, in samples.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Make a benchmark set: forgeries, their pristine twins and benign changes, with a manifest.

    A run that was stopped goes on where it stopped when it is started again. The same recipe and studies make the same
    set. What was changed says so in every file, as with `tamperscope forge`.

    Exit codes: 0 done; 2 usage error, or nothing could be read; 4 some items or inputs failed (listed), the others are
    there.
    """
    from dataclasses import replace

    from tamperscope import forge_set as sets
    from tamperscope import weights
    from tamperscope.report import words
    from tamperscope.study import DEFAULT_LIMITS

    limits = replace(DEFAULT_LIMITS, max_pixels=max_pixels) if max_pixels else DEFAULT_LIMITS
    processes = jobs or weights.available_cores()
    with told(), progress(silent=quiet) as tick:
        outcome = sets.make(paths, recipe, out, jobs=processes, limits=limits, tick=tick)
    for failure in outcome.failed:
        hint = f" ({failure.hint})" if failure.hint else ""
        typer.echo(words.visible(f"failed        {failure.error}{hint}"), err=True)
    if not quiet:
        typer.echo(f"{outcome.items} items, {outcome.made} of them made now, {len(outcome.failed)} failures")
        typer.echo(words.visible(f"Manifest: {out / sets.TABLE}"))
    raise typer.Exit(SOME_FAILED if outcome.failed else 0)
