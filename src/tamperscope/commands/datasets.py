"""``tamperscope datasets``: which data sets can be read, is all of one there, and a split of it without leaks."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.parts import SHARES, counted
from tamperscope.commands.parts import shares as shares_of
from tamperscope.commands.sets import align, join, slices
from tamperscope.commands.terminal import USAGE_ERROR, progress, told, visible

if TYPE_CHECKING:
    from tamperscope.datasets.dataset import Dataset, Findings
    from tamperscope.datasets.manifest import Entry, Part
    from tamperscope.records import JSON

app = typer.Typer(
    name="datasets", help="Data sets: list, check, split without leaks, align, cut, join.", no_args_is_help=True
)

app.command()(align)
app.command()(slices)
app.command()(join)

DEALT = ("patient", "generator", "scanner")
"""Splits that deal patients out by shares."""

Name = Annotated[str, typer.Argument(help="Name of the data set, see `tamperscope datasets list`.", metavar="NAME")]
Folder = Annotated[Path, typer.Argument(help="Folder of the data set; of a manifest, the file.", metavar="FOLDER")]


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print all facts as JSON, the traps too.")] = False,
) -> None:
    """List the data sets that can be read: where each is from, its licence, and whether its reader met real files."""
    from dataclasses import asdict

    from tamperscope.datasets import readers

    facts = [reader.FACTS for reader in readers().values()]
    if json:
        typer.echo(jsonlib.dumps([asdict(one) for one in facts], indent=2, ensure_ascii=False))
        return
    header = ("name", "modality", "patients", "licence", "generators", "checked against")
    rows = [
        (one.name, one.modality, one.patients, one.licence, ", ".join(one.generators) or "none", one.checked_against)
        for one in facts
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def check(name: Name, folder: Folder) -> None:
    """Is the data set complete? Counts what is there, says what is missing, and warns of its traps.

    Exit codes: 0 complete; 2 something is missing, a manifest leaks, or nothing could be read.
    """
    with told():
        reader = _reader(name)
        findings = reader.check(folder)
    _tell(reader, folder, findings)
    raise typer.Exit(0 if findings.complete else USAGE_ERROR)


@app.command()
def manifest(
    name: Name,
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: manifest.csv or manifest.parquet.")],
    split: Annotated[
        str,
        typer.Option(
            help="patient, generator=NAME or scanner=NAME (hold it out), file=SPLIT.json, or published: the parts that "
            "the set has."
        ),
    ] = "patient",
    part: Annotated[str | None, typer.Option(help="Put all of it into this part, instead of a split.")] = None,
    hold_out: Annotated[
        str | None, typer.Option("--hold-out", metavar="GENERATOR", help="With published: leave it to the test.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Share of the patients in each part.")] = SHARES,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffle: the same seed gives the same split.")] = 0,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Look for near-duplicate pictures across parts.")
    ] = True,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Write the manifest although the split leaks.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Split a data set by patient and write the manifest, unless a patient, file or picture is in two parts.

    Exit codes: 0 written; 2 nothing could be read, the split leaks, or a wrong call.
    """
    from tamperscope.datasets import leaks, table

    with told(), progress(silent=quiet) as tick:
        table.check_target(out)
        reader, how = _reader(name), _how(split, part, hold_out)
        shares = shares_of(parts)
        divided = _divided(reader.entries(folder, tick), how, shares, seed)
        found = leaks.check(divided, allow_leaks=allow_leaks, pixels=pixels, tick=tick)
        about: dict[str, JSON] = {
            "dataset": name,
            "split": how.partition("=")[0] if how.startswith("file=") else how,
            "parts": {str(part): share for part, share in shares.items()} if how.startswith(DEALT) else {},
            "seed": seed,
            "leaks": len(found),
            "pixels_compared": pixels,
        }
        base = table.read(folder).root if reader.FACTS.name == table.FACTS.name else folder
        proof = table.write(out, divided, base, about)
    for leak in found:
        typer.echo(f"leak: {visible(str(leak))}", err=True)
    if not quiet:
        for line in counted(divided):
            typer.echo(line)
        typer.echo(f"{visible(str(out))}  sha256 of the rows {proof}")


def _reader(name: str) -> Dataset:
    from tamperscope.datasets import readers
    from tamperscope.errors import UsageError

    known = readers()
    if name not in known:
        raise UsageError(f"no data set is called {name!r}", hint=f"there are {', '.join(known)}")
    return known[name]


def _how(split: str, part: str | None, hold_out: str | None) -> str:
    """The three options that say where patients go, as one word."""
    from tamperscope.errors import UsageError

    if hold_out is not None and (split != "published" or part is not None):
        raise UsageError(
            f"--hold-out {hold_out} keeps the parts that are there", hint="say --split published, without --part"
        )
    if part is not None and split != "patient":
        raise UsageError(f"both --part {part} and --split {split}", hint="give one of them")
    return f"part={part}" if part is not None else f"held-out={hold_out}" if hold_out is not None else split


def _divided(listed: tuple[Entry, ...], how: str, shares: dict[Part, float], seed: int) -> tuple[Entry, ...]:
    from tamperscope.datasets import splits
    from tamperscope.errors import UsageError

    kind, _, value = how.partition("=")
    plain = {"patient": lambda: splits.by_patient(listed, shares, seed), "published": lambda: splits.published(listed)}
    valued = {
        "generator": lambda: splits.without_generator(listed, value, shares, seed),
        "scanner": lambda: splits.without_scanner(listed, value, shares, seed),
        "file": lambda: splits.from_file(listed, Path(value)),
        "part": lambda: splits.whole(listed, _part(value)),
        "held-out": lambda: splits.held_out(listed, value),
    }
    chosen = valued.get(kind) if value else plain.get(how)
    if chosen is None:
        raise UsageError(
            f"unknown split {how!r}", hint="use patient, published, file=SPLIT.json, generator=NAME or scanner=NAME"
        )
    return chosen()


def _part(name: str) -> Part:
    from tamperscope.datasets.manifest import PARTS
    from tamperscope.errors import UsageError

    for part in PARTS:
        if part == name:
            return part
    raise UsageError(f"unknown part {name!r}", hint=f"the parts are {', '.join(PARTS)}")


def _tell(reader: Dataset, folder: Path, findings: Findings) -> None:
    facts = reader.FACTS
    lines = [
        f"{facts.title} in {folder}",
        f"layout      {findings.layout}",
        f"files       {findings.files:,}: {findings.authentic:,} authentic, {findings.forged:,} forged",
        f"patients    {findings.patients:,} ({facts.patient_key})",
    ]
    lines += [f"generators  {', '.join(findings.generators)}"] if findings.generators else []
    lines += [f"scanners    {', '.join(findings.scanners)}"] if findings.scanners else []
    lines += [f"note        {note}" for note in findings.notes]
    lines += [f"part        {part}" for part in findings.short]
    lines += [f"trap        {trap}" for trap in facts.traps]
    lines += [f"licence     {facts.licence}", f"reader      checked against {facts.checked_against}"]
    for line in lines:
        typer.echo(visible(line))
    for what in findings.missing:
        typer.echo(f"missing     {visible(what)}", err=True)
    for leak in findings.leaks:
        typer.echo(f"leak        {visible(leak)}", err=True)
    if findings.missing:
        typer.echo(visible(f"incomplete; where to get it: {facts.source}"), err=True)
    else:
        whole = "a part of what was published, and complete in itself" if findings.short else "complete"
        typer.echo(f"{whole}, but it leaks" if findings.leaks else whole)
