"""The answer of a scan in the formats that people and programs read, one format per file.

Volumes are large, so a scan writes in two steps: `write_series` right after a series was scanned, while its pixels
are at hand, and `write` at the end, when only the records are left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tamperscope.records import Report, SeriesResult, Volume

from . import csv, html, json, nifti, png
from .files import save

__all__ = ["csv", "html", "json", "nifti", "png", "prepare", "write", "write_series"]


def prepare(out: Path) -> None:
    """Make the folder ``out`` and see that it can be written to, before a long scan begins.

    Raises:
        UsageError: it cannot.
    """
    probe = Path(out) / ".tamperscope"
    save(probe, b"")
    probe.unlink()


def write_series(volume: Volume, result: SeriesResult, out: Path, *, heatmap: bool = False) -> bytes:
    """Write ``NAME.png`` and, if asked for and there is one, ``NAME.nii.gz`` of one series into the folder ``out``.

    Args:
        volume: The pixels that were scanned.
        result: What was found; ``result.name`` is the stem of the files.
        out: A folder; made if it is missing.
        heatmap: Write the heat map as NIfTI too.

    Returns:
        The bytes of the PNG, for the HTML report.

    Raises:
        UsageError: a file cannot be written, or the heat map does not lie on the volume's grid.
    """
    picture = png.render(volume, result)
    save(Path(out) / f"{result.name}.png", picture)
    if heatmap and result.heatmap is not None:
        nifti.write(volume, result.heatmap, Path(out) / f"{result.name}{nifti.SUFFIX}")
    return picture


def write(
    report: Report, out: Path, *, pictures: Mapping[str, bytes] | None = None, heatmaps: Collection[str] = ()
) -> list[Path]:
    """Write ``report.json``, ``report.csv`` and ``report.html`` into the folder ``out``.

    Args:
        report: The answer of one scan.
        out: A folder; made if it is missing.
        pictures: PNG bytes keyed by ``SeriesResult.name``, as `write_series` returned them.
        heatmaps: Names of the series whose heat map was written.

    Returns:
        The files written.

    Raises:
        UsageError: a file cannot be written.
    """
    texts = {
        "report.json": json.render(report, heatmaps=heatmaps),
        "report.csv": csv.render(report),
        "report.html": html.render(report, pictures or {}),
    }
    paths = []
    for name, text in texts.items():
        save(Path(out) / name, text.encode("utf-8"))
        paths.append(Path(out) / name)
    return paths
