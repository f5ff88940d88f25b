"""``tamperscope evaluate``: how often a model is right on a data set, where it fails, and how sure the figures are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.terminal import SOME_FAILED, progress, told

if TYPE_CHECKING:
    from tamperscope.records import JSON


def evaluate(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Manifest (CSV or Parquet), or the folder of a forge-set; several count as one."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for evaluation.html, .json and every answer.")],
    model: Annotated[
        str, typer.Option(help="Name of a packaged or imported model, the JSON of a Card, or the folder of a training.")
    ] = "ct-fast",
    part: Annotated[str | None, typer.Option(help="Part of the split to judge: test, say.")] = None,
    false_alarms: Annotated[
        float, typer.Option(min=1e-4, max=0.1, help="False alarms per authentic series to accept.")
    ] = 0.01,
    resamples: Annotated[int, typer.Option(min=0, help="Draws of patients for the intervals; 0 for none.")] = 1000,
    examples: Annotated[int, typer.Option(min=0, help="Worst misses and worst false alarms to draw, of each.")] = 3,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Again after compression, noise, blur, resizing ...: 26 times as long."),
    ] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Look for shortcuts: header, histogram, background, blanked place, twins.")
    ] = False,
    against: Annotated[
        list[Path] | None, typer.Option(help="Folder of another model's evaluation of the same data; may come again.")
    ] = None,
    slice_split: Annotated[
        Path | None, typer.Option(help="Folder of the same system's evaluation on a split by slices, to set beside.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network; all cores if left out.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Judge every series of a manifest, and say how often the model is right: by series, patient, slice and place.

    A run that was stopped goes on where it stopped. Exit codes: 0 done; 2 usage error, or nothing to judge; 4 some
    series could not be read (listed), the figures are of the others.
    """
    from tamperscope.evaluate import evaluation
    from tamperscope.report import words

    with told(), progress(silent=quiet) as tick:
        asked = evaluation.Asked(
            model,
            tuple(data),
            out,
            part,
            false_alarms,
            resamples,
            examples,
            robustness=robustness,
            audit=audit,
            against=tuple(against or ()),
            slice_split=slice_split,
            seed=seed,
            threads=threads,
        )
        answers, figures = evaluation.evaluate(asked, tick)
    for failure in answers.failed:
        typer.echo(words.visible(f"failed        {failure.source}: {failure.error} ({failure.hint})"), err=True)
    if not quiet:
        _summarise(figures, out)
    raise typer.Exit(SOME_FAILED if answers.failed else 0)


def _summarise(figures: dict[str, JSON], out: Path) -> None:
    from tamperscope.report import words

    series, cases = figures["series"], figures["cases"]
    if isinstance(series, dict) and isinstance(cases, dict):
        typer.echo(f"{cases['forged']} forged and {cases['authentic']} authentic series, {cases['refused']} refused")
        for key, title in (("auroc", "AUROC"), ("recall", "found"), ("false_alarm_rate", "false alarms")):
            typer.echo(f"{title:<14}{_figure(series[key])}  {_interval(series[f'{key}_interval'])}".rstrip())
    for key in ("audit", "slice_split", "against"):
        if isinstance(part := figures.get(key), dict) and isinstance(said := part["in_words"], list):
            for sentence in said:
                typer.echo(words.visible(f"- {sentence}"))
    typer.echo(words.visible(f"Evaluation: {out / 'evaluation.html'}"))


def _figure(value: JSON) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "not measurable"


def _interval(value: JSON) -> str:
    return f"({_figure(value[0])} to {_figure(value[1])})" if isinstance(value, list) else ""
