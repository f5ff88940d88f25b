"""Where nodules are marked: LIDC's XML files, or a table, brought onto the voxels of the volumes they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tamperscope.attacks.cubes import Triple
from tamperscope.datasets import layout, lidc
from tamperscope.errors import InputError, UnreadableError
from tamperscope.records import Volume

INDICES = ("k", "j", "i")
MILLIMETRES = (("x", "y", "z"), ("coordX", "coordY", "coordZ"))
"""In LPS; the second are the names of LUNA16's tables of LIDC-IDRI."""
SERIES = ("series_uid", "seriesuid")


def marks(path: Path, volumes: Sequence[Volume]) -> tuple[tuple[Triple, ...], ...]:
    """The centres (k, j, i) of the marked nodules of each volume.

    Args:
        path: An XML file of LIDC-IDRI, or a folder of such files; or a CSV file with the columns k, j, i (voxels) or
            x, y, z (millimetres in LPS), and with several volumes series_uid. The tables of LUNA16 are such files.
        volumes: Decoded series.

    Raises:
        UnreadableError: the file is none of these, or damaged.
        InputError: no mark belongs to any of the volumes, or one lies outside of its volume.
    """
    found = (_table if path.suffix.lower() == ".csv" else _lidc)(path, volumes)
    if not any(found):
        raise InputError(
            f"no nodule of {path} lies in the {len(volumes)} series given", hint="give the marks of these series"
        )
    for volume, places in zip(volumes, found, strict=True):
        for place in places:
            if any(not 0 <= index < size for index, size in zip(place, volume.shape, strict=True)):
                raise InputError(
                    f"{path} marks a nodule at {place}, outside the volume {volume.shape}",
                    hint="columns k, j, i are voxels, x, y, z millimetres in the patient's frame (LPS)",
                )
    return found


def _lidc(path: Path, volumes: Sequence[Volume]) -> tuple[tuple[Triple, ...], ...]:
    """The nodules of 3 mm and more, from the file whose outlines name the slices of the volume."""
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise UnreadableError(f"no XML file below {path}", hint="give LIDC's XML files, or a CSV file")
    drawn = [lidc.marks(file) for file in files]
    found = []
    for volume in volumes:
        slices = set(volume.sop_instance_uids)
        own = [
            mark
            for marks_of_file in drawn
            for mark in marks_of_file
            if any(outline.sop_instance_uid in slices for outline in mark.outlines)
        ]
        found.append(tuple(one.centre_index for one in lidc.nodules(own, volume) if one.kind == "nodule"))
    return tuple(found)


def _table(path: Path, volumes: Sequence[Volume]) -> tuple[tuple[Triple, ...], ...]:
    rows = layout.rows(path, ())
    header = rows[0].keys() if rows else ()
    columns = next((names for names in (INDICES, *MILLIMETRES) if set(names) <= set(header)), None)
    if columns is None:
        raise UnreadableError(
            f"cannot read {path}: neither columns k, j, i nor x, y, z", hint="name the columns in the first row"
        )
    series = next((name for name in SERIES if name in header), None)
    if series is None and len(volumes) > 1:
        raise UnreadableError(
            f"{path} does not say to which of {len(volumes)} series a mark belongs", hint="add a column series_uid"
        )
    found = []
    for volume in volumes:
        own = [row for row in rows if series is None or row[series].strip() == volume.series_uid]
        found.append(tuple(_place([row[name] for name in columns], columns == INDICES, volume, path) for row in own))
    return tuple(found)


def _place(values: Sequence[str], voxels: bool, volume: Volume, path: Path) -> Triple:
    try:
        numbers = [float(value) for value in values]
    except (ValueError, TypeError) as error:
        raise UnreadableError(f"cannot read {path}: {values} are no numbers", hint="mend the table") from error
    if not voxels:
        numbers = list((np.linalg.inv(volume.affine) @ [*numbers, 1.0])[:3])
    k, j, i = (round(number) for number in numbers)
    return k, j, i
