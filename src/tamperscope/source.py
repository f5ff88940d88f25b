"""The series that is to be forged: opened, decoded, completed by what its files do not state; and a place in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tamperscope import study
from tamperscope.attacks import cubes
from tamperscope.decode import decode
from tamperscope.errors import AttackError, UnreadableError, UnsupportedError, UsageError
from tamperscope.records import Series, Study, Volume
from tamperscope.study import DEFAULT_LIMITS, Limits

StrPath: TypeAlias = str | PathLike[str]
Triple: TypeAlias = tuple[int, int, int]

PLACE = re.compile(r"\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*(?:,\s*([-+.\deE]+)\s*)?(mm)?\s*")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One series and its pixels."""

    series: Series
    volume: Volume
    limits: Limits = DEFAULT_LIMITS


def opened(
    source: StrPath | Iterable[StrPath],
    *,
    series_uid: str | None = None,
    modality: str | None = None,
    spacing_mm: Sequence[float] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Source:
    """Read the one series that is to be forged, and decode it.

    Args:
        source: file, folder, zip or DICOMDIR; or several of them.
        series_uid: which series, where there are several: its Series Instance UID, or the file of a NIfTI or picture.
        modality: what NIfTI files and pictures are, which do not say so themselves.
        spacing_mm: what the files do not state: one side of a pixel, or distances along slices, rows and columns.
        limits: what an input may ask for.

    Raises:
        UnreadableError: nothing there is an image, or something of it cannot be read.
        UsageError: several series and none is named, or a modality or spacing that contradicts the files.
        UnsupportedError: colour.
    """
    reading = study.read(source, limits)
    if reading.failed:
        first = reading.failed[0]
        raise UnreadableError(first.error, hint=first.hint)
    series = chosen(reading.studies, series_uid)
    if modality and series.format == "dicom" and modality.upper() != series.modality:
        raise UsageError(f"the series states its modality, {series.modality}", hint="leave the modality out")
    return loaded(series, modality=modality, spacing_mm=spacing_mm, limits=limits)


def donated(
    source: StrPath | Iterable[StrPath],
    *,
    modality: str | None = None,
    spacing_mm: Sequence[float] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Volume:
    """The volume of another patient that gives a piece; what is stated here counts where the files do not say it.

    Raises:
        UnreadableError, UsageError, UnsupportedError: see `opened`.
    """
    reading = study.read(source, limits)
    stated = any(series.format == "dicom" for one in reading.studies for series in one.series)
    found = opened(source, modality=None if stated else modality, limits=limits).volume
    return _completed(found, None, spacing_mm if found.geometry == "none" else ())


def loaded(
    series: Series,
    *,
    modality: str | None = None,
    spacing_mm: Sequence[float] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Source:
    """Decode a series that is to be forged; see `opened` for the arguments and what it raises."""
    volume = decode(series, limits)
    if volume.voxels.ndim != 3:
        raise UnsupportedError(f"{series.instances[0].source}: attacks forge grey pictures", hint="save it as grey")
    return Source(series, _completed(volume, modality, spacing_mm), limits)


def chosen(studies: Sequence[Study], series_uid: str | None) -> Series:
    """The only series, or that of a UID (or of a file's name, for formats without UIDs).

    Raises:
        UsageError: several, or none of that name; the message lists what there is.
    """
    known = [series for one in studies for series in one.series]
    found = [series for series in known if series_uid is None or series_uid in _names(series)]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(_described(series) for series in known[:12]) + ("; ..." if len(known) > 12 else "")
    if not found:
        raise UsageError(f"no series {series_uid} in the study", hint=f"there are {listed}")
    if series_uid is None:
        raise UsageError(f"the study holds {len(found)} series", hint=f"name one with --series UID: {listed}")
    raise UsageError(f"series {series_uid} holds {len(found)} stacks", hint="give the files of one of them")


def _names(series: Series) -> set[str]:
    source = series.instances[0].source
    return {series.series_uid or source, Path(source).name if series.series_uid is None else ""} - {""}


def _described(series: Series) -> str:
    images = sum(instance.frames for instance in series.instances)
    name = series.series_uid or Path(series.instances[0].source).name
    return f"{name} ({series.modality}, {images} image{'s' if images > 1 else ''})"


def _completed(volume: Volume, modality: str | None, spacing_mm: Sequence[float]) -> Volume:
    """What the files do not state, from the user."""
    if volume.format != "dicom" and modality:
        volume = replace(volume, modality=modality.upper())
    elif volume.header.get("looks_like_hounsfield"):
        raise UsageError(
            f"{volume.sources[0]}: looks like CT in Hounsfield units, which NIfTI does not state",
            hint="say --modality CT, or what else it is",
        )
    if not spacing_mm:
        return volume
    if volume.geometry != "none":
        raise UsageError(f"the series states its spacing, {volume.spacing_mm} mm", hint="leave the spacing out")
    k, j, i = tuple(spacing_mm) * (1 if len(spacing_mm) == 3 else 3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, i], [0, j, 0], [k, 0, 0]])
    return replace(volume, affine=affine, geometry="spacing")


def spacing(text: str | None) -> list[float]:
    """``0.7`` or ``2.5,0.7,0.7`` to millimetres; none for None.

    Raises:
        UsageError: no such numbers.
    """
    if text is None:
        return []
    numbers = _numbers(text.split(","))
    if len(numbers) not in (1, 3) or min(numbers) <= 0:
        raise UsageError(f"spacing {text!r} mm", hint="give one number, or three: slices, rows, columns")
    return numbers


def place(text: str, volume: Volume) -> Triple:
    """``X,Y,Z`` in voxels (column, row, slice, counted from 0) or ``X,Y,Zmm`` in LPS millimetres to index (k, j, i).

    One slice needs no Z.

    Raises:
        UsageError: no such text, or millimetres where the series states no position.
        AttackError: outside the volume or the body.
    """
    match = PLACE.fullmatch(text)
    numbers = _numbers(match.groups()[:3]) if match else []
    enough = 3 if volume.shape[0] > 1 or (match and match[4]) else 2
    if match is None or len(numbers) < enough or not (match[4] or all(n.is_integer() for n in numbers)):
        raise UsageError(
            f"{text!r} is no place",
            hint="column,row,slice such as 210,180,64, or millimetres such as -34.5,12,-120.5mm",
        )
    if match[4] and volume.geometry != "patient":
        raise UsageError("the series states no position in the patient", hint="give column,row,slice")
    if match[4]:
        index = np.linalg.inv(volume.affine) @ [*numbers, 1.0]
        k, j, i = (round(float(v)) for v in index[:3])
    else:
        i, j, k = (round(number) for number in (*numbers, 0.0)[:3])
    if any(not 0 <= n < size for n, size in zip((k, j, i), volume.shape, strict=True)):
        depth, height, width = volume.shape
        raise AttackError(
            f"place {text} is column {i}, row {j}, slice {k}, outside the volume",
            hint=f"it has columns 0 to {width - 1}, rows 0 to {height - 1} and slices 0 to {depth - 1}",
        )
    cubes.check_inside_body(volume, (k, j, i))
    return k, j, i


def _numbers(texts: Iterable[str | None]) -> list[float]:
    """Finite numbers; none if one of the texts is no such number."""
    try:
        numbers = [float(text) for text in texts if text is not None]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []
