"""Lung CT tampered with by CT-GAN: 'Deepfakes: Medical Image Tamper Detection' (Mirsky et al. 2019, UCI, CC BY 4.0).

Three layouts, told apart by their tables (type, uuid, slice, x, y). FB: a nodule was removed; FM: a nodule was
injected; TB and TM: authentic places, without and with cancer. x is the column and y the row of the centre, and the
file of a slice is ``uuid/slice.dcm``.

- UCI: ``labels_exp1.csv`` and ``labels_exp2.csv`` beside ``Experiment 1 - Blind/`` and ``Experiment 2 - Open/``.
- Kaggle: the same tables beside ``CT_Scans/EXP1_blind/`` and ``CT_Scans/EXP2_open/``.
- Small: ``labels.csv`` beside the folders of the scans.

Checked against real files of 20 scans in the small layout; against the published description in the other two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tamperscope import study
from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.decode import decode
from tamperscope.errors import UnreadableError
from tamperscope.records import Volume

Kind = Literal["removed", "injected"]
KINDS: dict[str, Kind] = {"FB": "removed", "FM": "injected"}
AUTHENTIC = ("TB", "TM")
COLUMNS = ("type", "uuid", "slice", "x", "y")
BASES = ("", "Tampered Scans", "data/Tampered Scans", "CT_Scans")
"""Where below the folder of the set the tables and the scans may lie."""
FOLDERS = {"": ("",), "exp1": ("Experiment 1 - Blind", "EXP1_blind"), "exp2": ("Experiment 2 - Open", "EXP2_open")}
"""Part of the trial to the folder of its scans; the small layout knows no parts."""
TABLES = {"": "labels.csv", "exp1": "labels_exp1.csv", "exp2": "labels_exp2.csv"}
WHOLE = "scan"
"""What the series of a whole scan is called in the small layout."""
SCANS = {"exp1": 80, "exp2": 20}

FACTS = Facts(
    name="ct-gan",
    title="Deepfakes: Medical Image Tamper Detection (CT-GAN)",
    source="Mirsky, Mahler, Shelef & Elovici, CT-GAN, USENIX Security 2019; UCI data set 520, doi:10.24432/C5J318; "
    "Kaggle ymirsky/medical-deepfakes-lung-cancer",
    licence="CC BY 4.0",
    modality="CT",
    patients="100 scans, patients hidden",
    patient_key="the id of the scan, in both parts",
    layout="labels_exp1.csv, labels_exp2.csv, 'Experiment 1 - Blind'/uuid/slice.dcm, 'Experiment 2 - Open'/...; or "
    "CT_Scans/EXP1_blind, CT_Scans/EXP2_open; or labels.csv with uuid/slice.dcm",
    generators=("ct-gan",),
    checked_against="real files (20 scans, small layout)",
    traps=(
        "Scans 6031 and 7507 are in both parts in different states: a scan is (part, id), a patient is the id.",
        "Labels are points on one slice. The pasted box is about 32 mm wide, and the touch-up reaches 1.3 times its "
        "largest side in voxels along z: label slices by what changed, never by a few slices round the point.",
        "Two places of a scan can lie in one slice, each with its own label: in 2494 those of slices 23 and 24, and of "
        "64 and 67. A map that points at the other one is right.",
        "All headers are copies of one GE LightSpeed16, also in the authentic scans: they say nothing of the scanner.",
        "The lowest value differs from scan to scan (-3024 to -1000): clip at -1000 before any comparison.",
        "Beside scans of another export, header, clip level and writer tell the classes apart: compare inside a slice.",
        "The patients are hidden LIDC-IDRI patients: two ids may be one person, and may be in a training set.",
        "Small and real: validate with it, do not train on it, and pick no threshold that is then reported on it.",
    ),
)


@dataclass(frozen=True, slots=True)
class Label:
    """One tampered place."""

    scan: str
    slice_name: str
    kind: Kind
    row: int
    column: int
    part: str = ""
    """"exp1" or "exp2"; empty in the small layout."""

    def path(self, root: Path) -> Path:
        """The slice's file below the folder of the data set."""
        return _scans(root, self.part) / self.scan / f"{self.slice_name}.dcm"


def labels(root: Path) -> tuple[Label, ...]:
    """The tampered places whose slice is there; authentic places (TB, TM) are left out.

    Raises:
        UnreadableError: no table of labels or a damaged one, or no slice that they name.
        UnsafePathError: a table names a file outside the folder.
    """
    tables = _tables(root)
    found = [label for part in tables for label in _labels(root, part)]
    present = tuple(label for label in found if label.path(root).is_file())
    if not present:
        names = " and ".join(str(table) for table in tables.values())
        raise UnreadableError(f"no slice that {names} names is there", hint="give the folder that holds uuid/slice.dcm")
    return present


def volumes(root: Path) -> Iterator[tuple[Label, Volume]]:
    """Each tampered place with its slice as a volume of one slice.

    Raises:
        InputError: a slice cannot be read or decoded.
    """
    for label in labels(root):
        reading = study.read(label.path(root))
        if reading.failed:
            raise UnreadableError(f"{label.path(root)}: {reading.failed[0].error}", hint=reading.failed[0].hint)
        yield label, decode(reading.studies[0].series[0])


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every slice of every scan; a scan in which any place was tampered with is forged.

    Raises:
        UnreadableError: no table of labels or a damaged one, or no slice that they name.
        UnsafePathError: a table names a file outside the folder.
    """
    labels(root)
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """Tables, scans, and the slice of every label.

    Raises:
        UnreadableError: no table of labels, or a damaged one.
    """
    tables = _tables(root)
    missing = [
        f"{label.path(root)}, which {tables[part].name} names: unpack the archive again"
        for part in tables
        for label in _labels(root, part)
        if not label.path(root).is_file()
    ]
    missing += [
        f"{TABLES[part]} and its scans: the other half of the archive"
        for part in ("exp1", "exp2")
        if "" not in tables and part not in tables
    ]
    found = _listed(root)
    notes, short = [], []
    for part in sorted(tables.keys() & SCANS.keys()):
        there = len({entry.patient for entry in found if entry.series == part})
        if there < SCANS[part]:
            short.append(f"{part}: {there} scans, {SCANS[part]} were published")
    both = {entry.patient for entry in found if entry.series == "exp1"} & {
        e.patient for e in found if e.series == "exp2"
    }
    if both:
        notes.append(f"in both parts, in different states: {layout.named(sorted(both))}")
    kind = "small (labels.csv)" if "" in tables else f"full ({', '.join(sorted(tables))})"
    return Findings.of(found, kind, missing, notes, short=short)


def _tables(root: Path) -> dict[str, Path]:
    """Part to its table: the small layout, or one or both parts of the full one."""
    found = {}
    for part, name in TABLES.items():
        path = layout.first(root / base / name for base in BASES)
        if path is not None and path.is_file():
            found[part] = path
    if "exp1" in found or "exp2" in found:
        found.pop("", None)
    if not found:
        raise layout.absent(
            FACTS.title, root, TABLES.values(), "give the folder of the data set, where its tables of labels lie"
        )
    return found


def _labels(root: Path, part: str) -> list[Label]:
    """The tampered places of one table, whether their slice is there or not."""
    table, found = _tables(root)[part], []
    for row in layout.rows(table, COLUMNS):
        if row["type"] in KINDS:
            place = layout.whole(row["y"], table), layout.whole(row["x"], table)
            scan, name = (layout.within(row[column].strip(), table) for column in ("uuid", "slice"))
            found.append(Label(scan, name, KINDS[row["type"]], *place, part))
        elif row["type"] not in AUTHENTIC:
            raise UnreadableError(
                f"cannot read {table}: unknown type {row['type']!r}",
                hint=f"use one of {', '.join([*KINDS, *AUTHENTIC])}",
            )
    return found


def _scans(root: Path, part: str) -> Path:
    """The folder that holds the scans of one part."""
    if not part:
        return root
    candidates = [root / base / folder for base in BASES for folder in FOLDERS[part]]
    return layout.first(candidates) or candidates[0]


def _listed(root: Path) -> list[Entry]:
    """All slices of all parts without their digests."""
    found = []
    for part in _tables(root):
        places: dict[tuple[str, str], list[tuple[int, ...]]] = {}
        for label in _labels(root, part):
            places.setdefault((label.scan, label.slice_name), []).append((label.row, label.column))
        forged = {scan for scan, _ in places}
        paths = sorted(_scans(root, part).glob("*/*.dcm"))
        # Where every slice of a scan has a label of its own, they are picks far apart; else they are one series.
        whole = {path.parent.name for path in paths if (path.parent.name, path.stem) not in places}
        for path in paths:
            scan = path.parent.name
            found.append(
                Entry(
                    path,
                    "ct-gan",
                    scan,
                    part or (WHOLE if scan in whole else ""),
                    "",
                    label="forged" if scan in forged else "authentic",
                    generator="ct-gan" if scan in forged else "",
                    places=tuple(places.get((scan, path.stem), ())),
                    modality="CT",
                )
            )
    return found
