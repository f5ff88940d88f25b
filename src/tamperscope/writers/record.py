"""The JSON record beside a forgery: what replays it, and what came of it. No patient's data and no path is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tamperscope.errors import UnreadableError
from tamperscope.records import JSON, MaskArray, Volume
from tamperscope.report.files import save

from .written import Written

SCHEMA = "tamperscope/forgery/1"
SUFFIX = ".json"


def digest(order: Mapping[str, JSON]) -> str:
    """SHA-256 of what is to be done (input, steps and their parameters), hexadecimal; the order of keys is no part."""
    return hashlib.sha256(json.dumps(order, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write(record: Mapping[str, JSON], path: Path) -> None:
    """Write a record, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    save(path, (json.dumps({"schema": SCHEMA, **record}, indent=2, allow_nan=False) + "\n").encode())


def read(path: Path) -> dict[str, Any]:
    """A record as `write` wrote it.

    Raises:
        UnreadableError: there is none, or it is no record of this kind.
    """
    hint = "give the NAME.json that lies beside a forgery"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", hint=hint) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise UnreadableError(f"{path} is no record of a forgery ({SCHEMA})", hint=hint)
    return record


def outcome(
    source: Volume, written: Written, mask: MaskArray | None, order: Mapping[str, Any], folder: Path
) -> dict[str, JSON]:
    """What a record says of a series that was written.

    Args:
        source: the volume that it was made from.
        written: as the writer gives it.
        mask: (D, H, W), what changed; None for a twin.
        order: what was done.
        folder: what the names of files are relative to.
    """
    slices = [0] * written.volume.shape[0] if mask is None else [int(plane.sum()) for plane in mask]
    per_file = slices if len(written.files) == len(slices) else [sum(slices)] * len(written.files)
    return {
        "source": _facts(source),
        "shape": list(written.volume.shape),
        "place": _place(written.volume, order),
        "box_index": None if mask is None or not mask.any() else _box(mask),
        "changed_voxels": sum(slices),
        "changed_slices": [k for k, changed in enumerate(slices) if changed],
        "saturated_voxels": written.saturated,
        "voxels_sha256": written.volume.digest,
        **written.uids,
        "files": [
            {"name": path.relative_to(folder).as_posix(), "sha256": _digest(path), "changed_voxels": changed}
            for path, changed in zip(written.files, per_file, strict=True)
        ],
    }


def _facts(volume: Volume) -> dict[str, JSON]:
    """What is known of the picture and the scanner; nothing that identifies the patient, and no path."""
    facts = {key: volume.header.get(key) for key in ("manufacturer", "model", "kernel", "slice_thickness_mm")}
    return {
        "format": volume.format,
        "modality": volume.modality,
        "shape": list(volume.shape),
        "spacing_mm": None if volume.geometry == "none" else list(volume.spacing_mm),
        "findings": list(volume.findings),
        **facts,
    }


def centre(order: Mapping[str, Any]) -> list[int] | None:
    """Voxel (k, j, i) where the first step that has a place was carried out, on the grid of the outcome."""
    params = (order["pixels"] or {}).get("params", {})
    found: list[int] | None = None
    for step in [one["params"] for one in params.get("steps", [])] or [params]:
        if found is None:
            found = step.get("centre")
        elif "start" in step:  # a crop afterwards
            found = [index - first for index, first in zip(found, step["start"], strict=True)]
    return found


def _place(volume: Volume, order: Mapping[str, Any]) -> JSON:
    """The centre as index and, where the series states positions, in millimetres."""
    index = centre(order)
    if index is None:
        return None
    k, j, i = index
    mm: list[JSON] = [round(v, 3) for v in volume.position_mm((k, j, i))]
    return {"index": [k, j, i], "mm": mm if volume.geometry == "patient" else None}


def _box(mask: MaskArray) -> JSON:
    """First and last changed voxel (k, j, i), both inclusive."""
    ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]].tolist() for axis in range(3)]
    return [[first for first, _ in ends], [last for _, last in ends]]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
