"""Test sets of Back-in-Time Diffusion: lung CT and breast MRI with tumours put in or taken out (Grabovski et al. 2024).

Layout, as its notebook reads it: ``CT/injection/CT_injection.csv`` and ``CT/removal/CT_removal.csv`` with the columns
type, path, x, y, ``CTGAN-CT-injection`` and ``SD-CT-injection`` (1 where the row belongs to the test set of that
generator; the same for removal), and ``MRI/MRI_injection.csv`` and ``MRI/MRI_removal.csv`` with type, path, x, y.
Paths are relative to the folder of the set and name .npy slices (CT, Hounsfield units) and PNG slices (MRI); x is the
column and y the row of the place that was, or was not, tampered with. Checked against the published description only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, Truth, digested
from tamperscope.errors import UnreadableError

COLUMNS = ("type", "path", "x", "y")
TABLES = {
    ("CT", "injection"): "CT/injection/CT_injection.csv",
    ("CT", "removal"): "CT/removal/CT_removal.csv",
    ("MR", "injection"): "MRI/MRI_injection.csv",
    ("MR", "removal"): "MRI/MRI_removal.csv",
}
GENERATORS = {"CTGAN": "ct-gan", "SD": "stable-diffusion"}
"""First word of a column of the CT tables to what it stands for; the MRI forgeries are Stable Diffusion's."""
TYPES: dict[str, Truth] = {"fb": "forged", "fm": "forged", "tb": "authentic", "tm": "authentic"}
"""The four kinds of CT-GAN, beside the words that all tables may use."""
TAMPERED_NAME = re.compile(r"^(?:injection|removal)_|_fake$")

FACTS = Facts(
    name="btd",
    title="BTD MRI and CT deepfake test sets",
    source="Grabovski, Yasur, Amit, Elovici & Mirsky, Back-in-Time Diffusion, ACM TIST, arXiv:2407.15169; "
    "Kaggle freddiegraboski/btd-mri-and-ct-deepfake-test-sets",
    licence="as its Kaggle page states",
    modality="CT, MR",
    patients="hidden",
    patient_key="the name of the slice without its mark of tampering, so a forgery and its original share it",
    layout="CT/injection/CT_injection.csv, CT/removal/CT_removal.csv, MRI/MRI_injection.csv, MRI/MRI_removal.csv, and "
    "the slices that they name",
    generators=tuple(GENERATORS.values()),
    checked_against="published description",
    traps=(
        "No patient is named: slices of one person have different keys. Use it as a test set, whole.",
        "Its patients are in LIDC-IDRI and Duke Breast Cancer MRI: do not train on those and test here.",
        "A region test: the rows give the place to look at, for authentic slices too.",
        "The MRI slices are 8-bit PNG, the CT slices arrays without spacing or header.",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every slice that the tables name and that is there.

    Raises:
        UnreadableError: no table, a damaged one, or no slice that they name.
        UnsafePathError: a table names a file outside the folder.
    """
    listed = [entry for entry in _listed(root) if entry.path.is_file()]
    if not listed:
        raise UnreadableError(f"no slice that the tables name is in {root}", hint="unpack the whole archive there")
    return digested(listed, tick)


def check(root: Path) -> Findings:
    """The four tables, and the slice of every row.

    Raises:
        UnreadableError: no table, or a damaged one.
        UnsafePathError: a table names a file outside the folder.
    """
    tables = _tables(root)
    missing = [f"{root / TABLES[key]}: unpack the whole archive" for key in TABLES if key not in tables]
    listed = _listed(root)
    gone = sorted({str(entry.path) for entry in listed if not entry.path.is_file()})
    if gone:
        missing.append(f"{len(gone)} slices that the tables name ({layout.named(gone)}): unpack the whole archive")
    return Findings.of([entry for entry in listed if entry.path.is_file()], FACTS.layout, missing)


def _tables(root: Path) -> dict[tuple[str, str], Path]:
    found = {key: root / name for key, name in TABLES.items() if (root / name).is_file()}
    if not found:
        raise layout.absent(FACTS.title, root, TABLES.values(), "give the folder that holds CT/ and MRI/")
    return found


def _listed(root: Path) -> list[Entry]:
    """One entry a slice without its digest: rows of one file come together, and one forged place makes it forged."""
    found: dict[Path, Entry] = {}
    for (modality, kind), table in _tables(root).items():
        for row in layout.rows(table, COLUMNS):
            entry = _entry(root, table, modality, kind, row)
            before = found.get(entry.path, entry)
            if before is entry or before.label == "authentic":
                found[entry.path] = entry
            elif entry.label == "forged":
                found[entry.path] = replace(before, places=tuple(dict.fromkeys((*before.places, *entry.places))))
    return list(found.values())


def _entry(root: Path, table: Path, modality: str, kind: str, row: Mapping[str, str]) -> Entry:
    name = layout.within(row["path"].strip().replace("\\", "/"), table)
    label = TYPES.get(row["type"].strip().lower()) or layout.truth(row["type"], table)
    forged = label == "forged"
    stem = TAMPERED_NAME.sub("", PurePosixPath(name).stem)
    place = layout.whole(row["y"], table), layout.whole(row["x"], table)
    return Entry(
        root / name,
        "btd",
        "/".join((*PurePosixPath(name).parts[:-1], stem)),
        f"{modality}/{kind}",
        "",
        label=label,
        generator=_generator(row, modality, kind) if forged else "",
        places=(place,) if forged else (),
        modality=modality,
    )


def _generator(row: Mapping[str, str], modality: str, kind: str) -> str:
    """Of a forged row: by the column in which it has a 1."""
    if modality == "MR":
        return "stable-diffusion"
    cells = {name: row.get(f"{word}-{modality}-{kind}") or "" for word, name in GENERATORS.items()}
    marked = [name for name, cell in cells.items() if cell.strip() in ("1", "1.0")]
    return marked[0] if len(marked) == 1 else ""
