"""``tamperscope datasets align | slices | join``: sets that are made of the manifests of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tamperscope.commands import parts as parting
from tamperscope.commands.terminal import progress, told, visible

if TYPE_CHECKING:
    from tamperscope.picture_set import Contrast
    from tamperscope.records import JSON
    from tamperscope.slice_set import By

Manifests = Annotated[list[Path], typer.Argument(help="Manifests, or folders that hold one.", metavar="MANIFEST...")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the shuffle: the same seed gives the same split.")]


def align(
    manifests: Manifests,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the pictures and their manifest.")],
    side: Annotated[
        int | None, typer.Option(min=8, help="Pixels a side of all of them; those of the smallest if left out.")
    ] = None,
    contrast: Annotated[
        str, typer.Option(help="none, percentile, clahe, or match: one histogram for every picture.")
    ] = "none",
    jpeg: Annotated[
        int | None, typer.Option(min=1, max=100, help="Quality of a JPEG round trip of all of them.")
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Share of the patients in each part, if the manifests have none.")
    ] = parting.SHARES,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Bring single pictures of several sets through one pipeline: square, side, contrast, file format.

    Where authentic and forged pictures come from different collections, their size, contrast and file history tell
    them apart. A run that was stopped goes on where it stopped.

    Exit codes: 0 written; 2 a picture cannot be read, one class only, the split leaks, or a wrong call.
    """
    from tamperscope import picture_set

    with told(), progress(silent=quiet) as tick:
        alignment = picture_set.Alignment(side, cast("Contrast", contrast), jpeg)
        split = picture_set.Split(parting.shares(parts), seed)
        made = picture_set.align(manifests, out, alignment, split, tick)
    if not quiet:
        for line in parting.counted(made):
            typer.echo(line)
        typer.echo(visible(f"Manifest: {out / picture_set.TABLE}"))


def slices(
    manifest: Annotated[Path, typer.Argument(help="Manifest with masks, or the folder of a forge-set.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the masks and the manifest: new or empty.")],
    split: Annotated[
        str, typer.Option(help="patient: the parts as they are. slice: shuffled over slices.")
    ] = "patient",
    most: Annotated[int | None, typer.Option(min=1, help="Forged slices of a series, spread evenly.")] = None,
    one_label: Annotated[
        bool, typer.Option("--one-label", help="Forged slices of half of the patients, authentic ones of the others.")
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Make a manifest in which every slice is a series: forged ones, and as many authentic ones of the same patients.

    --split slice leaks on purpose, as most published figures do: train on it with --allow-leaks, and compare. With
    --one-label no patient has slices of both labels, as in most published sets: then to know the patient is to know
    the label.

    Exit codes: 0 written; 2 a series cannot be read, a forged one has no mask, or a wrong call.
    """
    from tamperscope import slice_set

    with told(), progress(silent=quiet) as tick:
        outcome = slice_set.make(
            manifest, out, by=cast("By", split), most=most, one_label=one_label, seed=seed, tick=tick
        )
    if not quiet:
        for line in parting.counted(outcome.entries):
            typer.echo(line)
        if outcome.lacking:
            typer.echo(f"{outcome.lacking} forged slices have no authentic one of their patient left")
        typer.echo(visible(f"Manifest: {out / slice_set.TABLE}"))


def join(
    manifests: Manifests,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: manifest.csv or manifest.parquet.")],
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Write it although a patient is in two parts.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write several manifests as one, to train or judge on them together; their files stay where they are.

    Exit codes: 0 written; 2 a file or a patient in two of them, parts in some only, or a wrong call.
    """
    from tamperscope.datasets import join as joining
    from tamperscope.datasets import leaks, table

    with told():
        table.check_target(out)
        found = joining.read(manifests)
        joining.check_parts(manifests, found)
        listed, root = joining.rooted(joining.entries(found))
        shared = leaks.check(listed, allow_leaks=allow_leaks, pixels=False)
        digests: list[JSON] = [str(one.about.get("rows_sha256", "")) for one in found]
        about: dict[str, JSON] = {"dataset": "joined", "of": digests, "leaks": len(shared)}
        proof = table.write(out, listed, root, about)
    for leak in shared:
        typer.echo(f"leak: {visible(str(leak))}", err=True)
    if not quiet:
        for line in parting.counted(listed):
            typer.echo(line)
        typer.echo(f"{visible(str(out))}  sha256 of the rows {proof}")
