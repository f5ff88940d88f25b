"""Headers to series: which images belong together, in which order, and what is odd about their places.

A series keeps its UID (PS3.3 C.7.3.1). What cannot be one grid (other matrix, orientation or number of channels) is
split, and the series says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from tamperscope.formats.dicom import Header
from tamperscope.records import JSON, Instance, Series, Study

RADIOGRAPHS = ("CR", "DX", "MG", "RG", "PX", "IO")
"""Modalities whose images are single projections and no stack of slices."""
GAP_TOLERANCE = 0.1
"""A distance that deviates from the usual one by more than this share is reported."""
SAME_POSITION_MM = 1e-3
SAME_DIRECTION = 0.02
"""Largest difference of a direction cosine inside one stack: about one degree."""


@dataclass(frozen=True, slots=True)
class Found:
    """A DICOM image with its header; ``root`` is the path that the user gave."""

    root: str
    instance: Instance
    header: Header

    @property
    def position(self) -> float | None:
        """Millimetres along the normal of the slice, or None."""
        header = self.header
        if header.position is None or header.orientation is None:
            return None
        return float(np.dot(normal(header.orientation), header.position))


def normal(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Unit normal of a slice from ImageOrientationPatient (PS3.3 C.7.6.2.1.1)."""
    crossed = np.cross(orientation[:3], orientation[3:])
    return np.asarray(crossed / np.linalg.norm(crossed), dtype=np.float64)


def studies(found: Sequence[Found], conflicts: Mapping[str, str]) -> tuple[Study, ...]:
    """Group images into studies and series.

    Args:
        found: the images, in any order.
        conflicts: SOP Instance UID to a sentence on another file of the same UID.

    Returns:
        Studies in the order in which they came, series by Series Number, then UID.
    """
    by_study = _grouped(found, lambda entry: entry.header.study_uid or f"below {entry.root}")
    return tuple(
        Study(members[0].root, members[0].header.study_uid, _series_of(members, conflicts)) for members in by_study
    )


def _grouped(found: Sequence[Found], key: Callable[[Found], str]) -> list[list[Found]]:
    groups: dict[str, list[Found]] = {}
    for entry in found:
        groups.setdefault(key(entry), []).append(entry)
    return list(groups.values())


def _series_of(found: Sequence[Found], conflicts: Mapping[str, str]) -> tuple[Series, ...]:
    groups = _grouped(found, lambda entry: entry.header.series_uid or f"in {PurePath(entry.instance.source).parent}")
    groups.sort(key=lambda members: (_series_number(members[0]), members[0].header.series_uid or ""))
    series: list[Series] = []
    for members in groups:
        parts, findings = _split(members)
        if members[0].header.series_uid is None:
            findings.append("Series Instance UID is missing; the images of one folder are taken as one series")
        clashes = (conflicts.get(entry.header.sop_instance_uid or "") for entry in members)
        findings.extend(clash for clash in clashes if clash)
        series.extend(_series(part, findings) for part in parts)
    return tuple(series)


def _series_number(entry: Found) -> float:
    number = entry.header.facts.get("series_number")
    return float(number) if isinstance(number, int) else float("inf")


def _split(members: list[Found]) -> tuple[list[list[Found]], list[str]]:
    """Parts that are one grid each, and why there are several."""
    members = sorted(members, key=_stack_order)
    if len(members) > 1 and members[0].header.modality in RADIOGRAPHS:
        return [[entry] for entry in members], [f"the series holds {len(members)} radiographs; each is its own volume"]
    parts: list[list[Found]] = []
    for entry in members:
        home = next((part for part in parts if _one_grid(part[0].header, entry.header)), None)
        if home is None:
            parts.append([entry])
        else:
            home.append(entry)
    return parts, [_mixture(parts)] if len(parts) > 1 else []


def _one_grid(first: Header, other: Header) -> bool:
    if first.shape[1:] != other.shape[1:] or max(first.shape[0], other.shape[0]) > 1:
        return False
    if first.orientation is None or other.orientation is None:
        return first.orientation is other.orientation
    return bool(np.allclose(first.orientation, other.orientation, atol=SAME_DIRECTION, rtol=0))


def _mixture(parts: list[list[Found]]) -> str:
    headers = [part[0].header for part in parts]
    kinds: dict[str, set[tuple[float, ...]]] = {
        "matrix sizes": {header.shape[1:3] for header in headers},
        "numbers of channels": {header.shape[3:] for header in headers},
        "orientations": {tuple(round(part, 1) for part in header.orientation or ()) for header in headers},
    }
    mixed = [f"{len(values)} {name}" for name, values in kinds.items() if len(values) > 1]
    what = " and ".join(mixed) or f"{len(parts)} stacks"
    return f"the series mixes {what}; it is split into {len(parts)} volumes"


def _stack_order(entry: Found) -> tuple[float, float, str]:
    number = entry.header.instance_number
    infinity = float("inf")
    position = entry.position
    return (
        infinity if position is None else position,
        infinity if number is None else number,
        entry.instance.source,
    )


def _series(part: list[Found], findings: list[str]) -> Series:
    header = part[0].header
    places = [entry.position for entry in part]
    known = [place for place in places if place is not None]
    own: list[str] = []
    if len(known) < len(part) and len(part) > 1:
        numbered = all(entry.header.instance_number is not None for entry in part)
        by = "Instance Number" if numbered else "file name"
        part = sorted(part, key=lambda entry: _stack_order(entry)[1:])
        own = [f"{len(part) - len(known)} of {len(part)} images state no position; sorted by {by}"]
    elif len(part) > 1:
        own = place_findings(known)
    instances = (replace(entry.instance, position=entry.position) for entry in part)
    return Series(
        header.series_uid,
        header.study_uid,
        header.modality,
        "dicom",
        tuple(instances),
        _facts(part),
        (*findings, *own),
    )


def _facts(part: list[Found]) -> dict[str, JSON]:
    """Facts of the first image; what one slice says of its making is said of the series."""
    all_facts = [entry.header.facts for entry in part]
    facts = dict(all_facts[0])
    facts["lossy"] = any(entry["lossy"] for entry in all_facts)
    facts["synthetic_data"] = next(
        (entry["synthetic_data"] for entry in all_facts if entry["synthetic_data"] == "YES"),
        facts["synthetic_data"],
    )
    equipment: list[JSON] = []
    for entry in all_facts:
        listed = entry["contributing_equipment"]
        equipment.extend(each for each in (listed if isinstance(listed, list) else ()) if each not in equipment)
    facts["contributing_equipment"] = equipment
    return facts


def place_findings(positions: Sequence[float]) -> list[str]:
    """Duplicate positions and gaps in a sorted stack, in plain sentences.

    Args:
        positions: millimetres along the normal, ascending.
    """
    steps = np.diff(np.asarray(positions, dtype=np.float64))
    same = np.flatnonzero(np.abs(steps) <= SAME_POSITION_MM)
    findings = []
    if same.size:
        first = int(same[0])
        findings.append(
            f"{same.size} of {len(positions)} slices lie where another one lies, first slices {first} and "
            f"{first + 1} at {positions[first]:.2f} mm"
        )
    usual = usual_step(positions)
    if usual is not None:
        odd = np.flatnonzero((np.abs(steps) > SAME_POSITION_MM) & (np.abs(steps - usual) > GAP_TOLERANCE * usual))
        findings.extend(_gap_findings(steps, usual, odd))
    return findings


def usual_step(positions: Sequence[float]) -> float | None:
    """Median distance of neighbouring slices at different positions, millimetres; None if there are none."""
    steps = np.abs(np.diff(np.asarray(positions, dtype=np.float64)))
    steps = steps[steps > SAME_POSITION_MM]
    return float(np.median(steps)) if steps.size else None


def _gap_findings(steps: NDArray[np.float64], usual: float, odd: NDArray[np.intp]) -> list[str]:
    if not odd.size:
        return []
    first = int(odd[0])
    missing = int(np.sum(np.maximum(np.round(steps[odd] / usual) - 1, 0)))
    lost = f"; missing slices: about {missing}" if missing else ""
    return [
        f"{odd.size} irregular distances between slices: slices {first} and {first + 1} lie {steps[first]:.2f} mm "
        f"apart where {usual:.2f} mm is usual{lost}"
    ]
