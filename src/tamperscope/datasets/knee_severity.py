"""Knee radiographs with their grade of osteoarthritis (Chen 2018, Mendeley Data 56rmx5bjcr, CC BY 4.0).

Three layouts. Published: ``kneeKL224/`` and ``kneeKL299/`` (the sizes in pixels) with ``train/``, ``val/``, ``test/``
and ``auto_test/``, in each a folder a grade, 0 to 4; also below ``KneeXrayData/ClsKLData/`` as the archive unpacks.
One size: ``train/0/`` and so on in the folder itself, as copies of the set are often passed on. Small: ``kl0/`` to
``kl4/``. The first seven digits of a name are the patient, the letter behind them the side of the knee.

Checked against real files of 420 patients in the small layout; against the published description in the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.errors import UnreadableError

BASES = ("", "ClsKLData", "KneeXrayData/ClsKLData")
SIZES = ("kneeKL224", "kneeKL299")
PUBLISHED = {"train": 5778, "val": 826, "test": 1656, "auto_test": 1526}
"""Pictures in each part, of each size."""
PARTS = {"train": "train", "val": "calibrate", "test": "test", "auto_test": "test"}
GRADES = range(5)
NAME = re.compile(r"^(\d{7})")

FACTS = Facts(
    name="knee-severity",
    title="Knee Osteoarthritis Severity Grading Dataset",
    source="Chen, Pingjun (2018), Mendeley Data V1, doi:10.17632/56rmx5bjcr.1; from the Osteoarthritis Initiative",
    licence="CC BY 4.0",
    modality="DX",
    patients="4,130 radiographs",
    patient_key="the first seven digits of the file name",
    layout="kneeKL224/PART/GRADE/*.png and kneeKL299/PART/GRADE/*.png for PART in train, val, test, auto_test and "
    "GRADE 0 to 4; or kl0/ to kl4/",
    generators=(),
    checked_against="real files (420 patients, small layout)",
    traps=(
        "kneeKL224 and kneeKL299 hold the same knees in two sizes: use one, and never one against the other.",
        "auto_test is the test part again, cut out by a program instead of by hand: do not count its knees twice.",
        "Left and right knee are one patient: split by the first seven digits.",
        "Contrast may have been equalised (CLAHE in the small layout): a synthetic set with another recipe is told "
        "apart by its histogram alone.",
        "Size, contrast recipe and file history differ from any synthetic set: bring both classes through the same "
        "pipeline, or the detector learns those.",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every knee; with both sizes there, each knee stands twice under one patient.

    Raises:
        UnreadableError: no such folder, or a picture whose name does not begin with a patient.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """The parts of each size with their published number of pictures; the small layout has no such number.

    Raises:
        UnreadableError: no such folder, or a picture whose name does not begin with a patient.
    """
    listed, missing, notes = _listed(root), [], []
    found = _folders(root)
    for size, base in found.items():
        for part in PUBLISHED if size != "small" else ():
            there = sum(entry.path.is_relative_to(base / part) for entry in listed)
            if there < PUBLISHED[part]:
                missing.append(f"{base / part}: {there} of {PUBLISHED[part]:,} pictures: unpack the archive again")
    if len(found) > 1:
        notes.append("both sizes are here: they hold the same knees")
    return Findings.of(listed, ", ".join(found), missing, notes)


def _folders(root: Path) -> dict[str, Path]:
    """Name of each size to its folder; "small" for the small layout."""
    found = {}
    for size in SIZES:
        folder = layout.first(root / base / size for base in BASES)
        if folder is not None:
            found[size] = folder
    if not found and any((root / part).is_dir() for part in ("train", "val", "test")):
        found["one size"] = root
    if not found and any((root / f"kl{grade}").is_dir() for grade in GRADES):
        found["small"] = root
    if not found:
        raise layout.absent(
            FACTS.title, root, (*SIZES, "train/0", "kl0"), "give the folder that holds kneeKL224 or kneeKL299"
        )
    return found


def _listed(root: Path) -> list[Entry]:
    found = []
    for size, base in _folders(root).items():
        for part, grade, folder in _grades(size, base):
            for path in layout.images(folder):
                match = NAME.match(path.name)
                if match is None:
                    raise UnreadableError(
                        f"{path}: the name does not begin with a patient of seven digits",
                        hint="keep the names as published; use the data set 'folders' for other pictures",
                    )
                series = "/".join(word for word in (size if size in SIZES else "", part) if word)
                found.append(
                    Entry(
                        path,
                        "knee-severity",
                        match[1],
                        series,
                        "",
                        modality="DX",
                        grade=grade,
                        part=PARTS.get(part, ""),
                    )
                )
    if not found:
        raise UnreadableError(f"no picture in the folders of {root}", hint="unpack the archive again")
    return found


def _grades(size: str, base: Path) -> Iterator[tuple[str, str, Path]]:
    """(part, grade, folder) of every folder of pictures."""
    for grade in GRADES:
        if size == "small":
            yield "", f"kl{grade}", base / f"kl{grade}"
        else:
            yield from ((part, f"kl{grade}", base / part / str(grade)) for part in PUBLISHED)
