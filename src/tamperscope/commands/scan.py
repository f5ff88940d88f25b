"""``tamperscope scan``: studies in, verdicts and a report out."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamperscope.commands.terminal import USAGE_ERROR, progress, told

if TYPE_CHECKING:
    from tamperscope.records import Report, SeriesResult


def scan(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders, zips or DICOMDIRs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for report.json, .csv, .html and a PNG a series; with --json optional."
        ),
    ] = None,
    heatmap: Annotated[
        bool, typer.Option("--heatmap", help="Write NAME.nii.gz a series too: the calibrated heat map.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON to standard output.")] = False,
    modality: Annotated[str | None, typer.Option(help="What NIfTI files are, which do not say it: CT, say.")] = None,
    false_alarms: Annotated[
        float, typer.Option(min=1e-4, max=0.1, help="False alarms per authentic series to accept.")
    ] = 0.01,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Largest series, in samples.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Judge with this one instead of the fast ones: ct-accurate, say.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network; all cores if left out.")] = None,
    dicom_out: Annotated[
        Path | None, typer.Option(help="Folder for the answer as DICOM objects, NAME.KIND.dcm a series.")
    ] = None,
    dicom_kind: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of DICOM object to write, may be repeated: sr, seg, capture, keys (these if left out), "
            "heatmap, presentation."
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf too: for people who were not there.")] = False,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            help="Sign all files in --out with this private key (PEM); its password, if any, is in "
            "TAMPERSCOPE_SIGN_PASSWORD."
        ),
    ] = None,
    sign_certificate: Annotated[
        Path | None,
        typer.Option(help="Certificate chain (PEM) of that key: puts Content Credentials (C2PA) into each PNG."),
    ] = None,
    when: Annotated[
        datetime | None, typer.Option(help="The date of report.html, report.pdf and the DICOM objects.")
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(
            help="PEM certificates, or a folder of them, whose signatures vouch for a file; may be repeated. "
            "Without it no signature makes a file verified; a broken one is told all the same."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Scan studies for tampering.

    Exit codes: 0 no evidence of tampering; 1 at least one series is suspicious or was changed since it was signed;
    2 usage error, or nothing could be read; 3 nothing suspicious, at least one series inconclusive; 4 some inputs
    failed, of the rest none is suspicious or inconclusive.
    """
    from dataclasses import replace

    import tamperscope
    from tamperscope import detectors
    from tamperscope.report import json as json_report
    from tamperscope.report.dicom import DEFAULT_KINDS
    from tamperscope.report.signature import PASSWORD
    from tamperscope.study import DEFAULT_LIMITS
    from tamperscope.verdict import Policy

    for option, given in (("--heatmap", heatmap), ("--pdf", pdf), ("--sign-key", sign_key is not None)):
        if json and given and out is None:
            typer.echo(f"tamperscope: {option} writes files (say with --out where to)", err=True)
            raise typer.Exit(USAGE_ERROR)
    if dicom_kind and dicom_out is None:
        typer.echo(
            "tamperscope: --dicom-kind chooses what --dicom-out writes (say with --dicom-out where to)", err=True
        )
        raise typer.Exit(USAGE_ERROR)
    folder = out if out is not None or json else Path("tamperscope-report")
    limits = replace(DEFAULT_LIMITS, max_pixels=max_pixels) if max_pixels else DEFAULT_LIMITS
    with told(), progress(silent=quiet or json) as tick:
        report = tamperscope.scan(
            paths,
            out=folder,
            write_heatmaps=heatmap,
            keep_heatmaps=False,
            modality=modality,
            limits=limits,
            policy=Policy.at(false_alarms),
            cards=None if model is None else (detectors.chosen_card(model),),
            threads=threads,
            tick=tick,
            dicom_out=dicom_out,
            dicom_kinds=dicom_kind or DEFAULT_KINDS,
            when=when,
            pdf=pdf,
            sign_key=sign_key,
            sign_password=os.environ.get(PASSWORD),
            sign_certificate=sign_certificate,
            trust=trust,
        )
    try:
        _complain(report)
        if json:
            written = [series.name for series in report.series if heatmap and series.probability is not None]
            typer.echo(json_report.render(report, heatmaps=written).encode(), nl=False)  # RFC 8259: UTF-8
        elif not quiet:
            _summarise(report, folder, dicom_out, signed=sign_key is not None)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader left, `| head` say. Its exit code would be 1, which here means "suspicious".
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(report.exit_code)


def _complain(report: Report) -> None:
    """What went wrong, to standard error."""
    from tamperscope.report import words

    for failure in report.failed:
        source = "" if failure.error.startswith(failure.source) else f"{failure.source}: "
        hint = f" ({failure.hint})" if failure.hint else ""
        typer.echo(words.visible(f"failed        {source}{failure.error}{hint}"), err=True)
    if not report.series:
        typer.echo("tamperscope: nothing could be read (give DICOM, NIfTI, PNG, JPEG or TIFF images)", err=True)


def _summarise(report: Report, folder: Path | None, dicom_out: Path | None, *, signed: bool) -> None:
    from tamperscope.report import words
    from tamperscope.report.dicom import LEFT_OUT

    for series in report.series:
        typer.echo(_line(series))
    if report.skipped:
        typer.echo(f"{len(report.skipped)} objects are no images to analyse and were skipped; the report lists them.")
    for series in report.series:
        for finding in series.findings:
            if finding.startswith(LEFT_OUT):
                typer.echo(words.visible(f"{series.name}: {finding}"))
    if dicom_out is not None:
        typer.echo(words.visible(f"DICOM objects: {dicom_out}"))
    if folder is not None:
        typer.echo(words.visible(f"Report: {folder / 'report.html'}"))
    if folder is not None and signed:
        typer.echo(words.visible(f"Signed: verify it with tamperscope verify {folder} --key public.pem"))


def _line(series: SeriesResult) -> str:
    from tamperscope.report import words

    verdicts = {"suspicious": "SUSPICIOUS", "no_evidence": "no evidence", "inconclusive": "inconclusive"}
    verdict = "CHANGED" if series.broken else verdicts[series.verdict]
    parts: list[Any] = [f"{verdict:<13} {series.name}"]
    if series.broken:
        parts += [finding.text for finding in words.weighty(series)[:1]]
    if series.probability is not None:
        parts.append(f"probability {words.probability(series.probability)}")
    if series.regions:
        k, j, i = series.regions[0].centre_index
        size = series.regions[0].diameter_mm
        parts.append(f"slice {k + 1}, row {j}, column {i}" + (f", {size:.0f} mm wide" if size else ""))
    parts += series.reasons[:1]
    return "; ".join(str(part) for part in parts)
