"""The answer of a scan in the formats that people and programs read, one format per file.

Volumes are large, so a scan writes in two steps: `write_series` right after a series was scanned, while its pixels
are at hand, and `write` at the end, when only the records are left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tamperscope.records import Report, SeriesResult, Volume
from tamperscope.weights import Card

from . import chapters, credentials, csv, html, json, nifti, pdf, png, signature
from .credentials import Credentials
from .files import save
from .signature import Signer

__all__ = [
    "chapters",
    "credentials",
    "csv",
    "html",
    "json",
    "nifti",
    "pdf",
    "png",
    "prepare",
    "signature",
    "write",
    "write_series",
]


def prepare(out: Path) -> None:
    """Make the folder ``out`` and see that it can be written to, before a long scan begins.

    Raises:
        UsageError: it cannot.
    """
    probe = Path(out) / ".tamperscope"
    save(probe, b"")
    probe.unlink()


def write_series(
    volume: Volume,
    result: SeriesResult,
    out: Path,
    *,
    heatmap: bool = False,
    credentials: Credentials | None = None,
) -> bytes:
    """Write ``NAME.png`` and, if asked for and there is one, ``NAME.nii.gz`` of one series into the folder ``out``.

    Args:
        volume: The pixels that were scanned.
        result: What was found; ``result.name`` is the stem of the files.
        out: A folder; made if it is missing.
        heatmap: Write the heat map as NIfTI too.
        credentials: Sign the PNG with these.

    Returns:
        The bytes of the PNG without credentials, for the reports that hold it.

    Raises:
        UsageError: a file cannot be written, or the heat map does not lie on the volume's grid.
    """
    picture = png.render(volume, result)
    save(Path(out) / f"{result.name}.png", credentials.sign(picture, result) if credentials else picture)
    if heatmap and result.heatmap is not None:
        nifti.write(volume, result.heatmap, Path(out) / f"{result.name}{nifti.SUFFIX}")
    return picture


def write(
    report: Report,
    out: Path,
    *,
    pictures: Mapping[str, bytes] | None = None,
    heatmaps: Collection[str] = (),
    cards: Sequence[Card] = (),
    as_pdf: bool = False,
    made: datetime | None = None,
    signer: Signer | None = None,
) -> list[Path]:
    """Write ``report.json``, ``report.csv``, ``report.html`` and, if asked for, ``report.pdf`` into the folder ``out``.

    Args:
        report: The answer of one scan.
        out: A folder; made if it is missing.
        pictures: PNG bytes keyed by ``SeriesResult.name``, as `write_series` returned them.
        heatmaps: Names of the series whose heat map was written.
        cards: Those of the models, for their error rates.
        as_pdf: Write the PDF too.
        made: When, for the page and the PDF; they bear no date if None.
        signer: Who will sign what was written (see `signature.write`), so that they say how to verify it.

    Returns:
        The files written.

    Raises:
        UsageError: a file cannot be written.
        MissingExtraError: ``as_pdf``, and reportlab is not installed.
    """
    said = signature.described(signer)
    imprint = chapters.imprint(report, heatmaps=heatmaps, made=made, fingerprint=said[0], openssl=said[1])
    files = {
        "report.json": json.render(report, heatmaps=heatmaps).encode(),
        "report.csv": csv.render(report).encode(),
        "report.html": html.render(report, pictures or {}, cards, imprint).encode(),
    }
    if as_pdf:
        files["report.pdf"] = pdf.render(report, pictures or {}, cards, imprint)
    for name, data in files.items():
        save(Path(out) / name, data)
    return [Path(out) / name for name in files]
