"""``tamperscope forge``: forgeries of one series as files, with their truth and their records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.terminal import progress, told

if TYPE_CHECKING:
    from tamperscope.forge import Item


def forge(
    paths: Annotated[list[Path], typer.Argument(metavar="STUDY", help="Files, a folder, zip or DICOMDIR.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is made: new or empty.")],
    attack: Annotated[str | None, typer.Option(help="What to do; an unknown name lists the known ones.")] = None,
    mode: Annotated[str | None, typer.Option(help="inject or remove, where the attack has both.")] = None,
    then: Annotated[list[str] | None, typer.Option(help="What to do afterwards; may be given several times.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many forgeries, each a series of its own.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of every choice: the same seed makes the same forgeries.")] = 0,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z",
            help="Where: column,row,slice counted from 0 (210,180,64), or LPS millimetres (-34.5,12,-120.5mm).",
        ),
    ] = None,
    twin: Annotated[bool, typer.Option("--twin", help="Write the pristine twin through the same writer too.")] = False,
    donor: Annotated[list[Path] | None, typer.Option(help="Another patient's study, for splice.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A setting of the attack: noise_source=fixed-place for ct-gan, say."),
    ] = None,
    network: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of a network of your own, as training leaves it.")
    ] = None,
    series: Annotated[str | None, typer.Option(metavar="UID", help="Which series, where there are several.")] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="RECORD.json", help="Make the forgery of a record again, bit for bit.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="What NIfTI files and pictures are: CT, DX, say.")] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM", help="Pixel size that the files do not state: 0.7, or 2.5,0.7,0.7.")
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Largest series, in samples.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Forge a series, to test a detector with it.

    Each forgery comes in the format of its source, with a mask of the changed voxels, a record that replays it and a
    picture of before, after and difference. It says what it is: in the header, in the file name, in its record. No
    option turns that off. The input is never changed.

    Exit codes: 0 done; 2 it could not be done, with the reason.
    """
    from dataclasses import replace

    from tamperscope import forge as forging
    from tamperscope import source as sources
    from tamperscope import writers
    from tamperscope.errors import UsageError
    from tamperscope.plan import planned, settings
    from tamperscope.report import words
    from tamperscope.study import DEFAULT_LIMITS

    limits = replace(DEFAULT_LIMITS, max_pixels=max_pixels) if max_pixels else DEFAULT_LIMITS
    with told():
        if (attack is None) == (replay is None):
            raise UsageError("say what to do", hint="with --attack NAME, or with --replay RECORD.json")
        record = writers.record.read(replay) if replay is not None else None
        millimetres = sources.spacing(spacing)
        source = sources.opened(paths, series_uid=series, modality=modality, spacing_mm=millimetres, limits=limits)
        donors = tuple(
            sources.donated(path, modality=modality, spacing_mm=millimetres, limits=limits) for path in donor or ()
        )
        with progress(silent=quiet) as tick:
            if record is not None:
                forging.prepare(out, paths)
                items = forging.replay(source, record, out, donors, twin=twin, network=network)
            else:
                plan = planned(attack or "", mode, then or (), donors, settings(option or ()), network)
                place = sources.place(at, source.volume) if at is not None else None
                forging.prepare(out, paths)
                items = forging.forge(source, plan, out, count=count, seed=seed, at=place, twin=twin, tick=tick)
    if not quiet:
        for item in items:
            typer.echo(_line(item))
        typer.echo(words.visible(f"Written to {out}; what was changed says so. Not for diagnosis."))


def _line(item: Item) -> str:
    record = item.record
    parts = [item.name]
    if record["place"] is not None:
        k, j, i = record["place"]["index"]
        parts.append(f"at {i},{j},{k}")
    if record["role"] == "twin":
        parts.append("the source as it is" if record["attack"] == "none" else "without the forgery")
    elif record["role"] == "benign":
        parts.append("the whole picture")
    elif not record["changed_voxels"]:
        parts.append("the header only" if record["order"]["pixels"] is None else "no voxel changed")
    else:
        parts.append(f"{record['changed_voxels']} voxels changed in {len(record['changed_slices'])} slices")
    return "; ".join(parts)
