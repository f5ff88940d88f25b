"""M3Dsynth: lung nodules put into, and taken out of, LIDC-IDRI scans by three networks (Zingarini et al. 2024).

Layout, as the set's own tools make it: the tables ``data.csv`` and ``sets.csv`` of its repository beside, or one
folder below, ``MOD/scan/IMG_ID/slide0000.tiff`` (uint16) and ``MOD/label/IMG_ID/slide0000.tiff`` (one bit, set where
something was changed), for MOD in pix2pix, cycle, diffusion; ``real/scan`` holds the pristine twins, converted from
LIDC-IDRI by each user, with links where several forgeries come from one scan. Checked against the published tables
and tools, not against real files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Place, Tick, digested
from tamperscope.errors import InputError, UnreadableError

MODS = ("real", "pix2pix", "cycle", "diffusion")
DATA_COLUMNS = ("img_id", "mod", "orig_id", "coord_z", "coord_y", "coord_x")
SET_COLUMNS = ("orig_id", "set")
PARTS = {"train": "train", "valid": "calibrate", "test": "test"}

FACTS = Facts(
    name="m3dsynth",
    title="M3Dsynth",
    source="Zingarini, Cozzolino, Corvi, Poggi & Verdoliva, M3Dsynth, ICASSP 2024, arXiv:2309.07973; "
    "github.com/grip-unina/M3Dsynth",
    licence="its own, for research without profit",
    modality="CT",
    patients="of LIDC-IDRI; 8,577 forgeries",
    patient_key="orig_id of data.csv, the LIDC-IDRI patient",
    layout="data.csv, sets.csv, MOD/scan/IMG_ID/slide0000.tiff, MOD/label/IMG_ID/slide0000.tiff",
    generators=("m3dsynth-pix2pix", "m3dsynth-cycle", "m3dsynth-diffusion"),
    checked_against="published tables and tools",
    traps=(
        "Stored values are Hounsfield units plus an offset (0, 512, 1024, 2000 or 2048) that differs by scan and is "
        "written nowhere; pixel spacing is in LIDC.csv of the repository only.",
        "The slices run from head to foot, and the files are LZMA-compressed TIFF without any header.",
        "Several forgeries come from one scan, and all scans are LIDC-IDRI patients: split by orig_id.",
        "The real scans are converted by each user with the set's script: check that both classes hold the same "
        "offset before comparing them.",
        "real/scan holds links: one scan stands under many names, and counts once.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Scan:
    """One row of data.csv."""

    name: str
    mod: str
    patient: str
    place: Place
    part: str

    def folder(self, base: Path, kind: str) -> Path:
        return base / self.mod / kind / self.name


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every slice of every scan of the tables that is there, with its mask.

    Raises:
        UnreadableError: no table, a damaged one, or no scan that they name.
        InputError: sets.csv puts a patient into two sets.
        UnsafePathError: a table names a scan outside the folder.
    """
    listed = _listed(root)
    if not listed:
        raise UnreadableError(
            f"no scan that {_table(root, 'data.csv')} names is in {_base(root)}",
            hint="unpack pix2pix.tgz, cycle.tgz and diffusion.tgz there",
        )
    return digested(listed, tick)


def check(root: Path) -> Findings:
    """Tables, and the scan and the masks of every row.

    Raises:
        UnreadableError: no table, or a damaged one.
        InputError: sets.csv puts a patient into two sets.
        UnsafePathError: a table names a scan outside the folder.
    """
    base, missing = _base(root), []
    for mod in MODS:
        scans = [scan for scan in _scans(root) if scan.mod == mod]
        for kind in ("scan",) if mod == "real" else ("scan", "label"):
            gone = [scan.name for scan in scans if not scan.folder(base, kind).is_dir()]
            if gone:
                way = "convert LIDC-IDRI with the set's script" if mod == "real" else f"unpack {mod}.tgz again"
                missing.append(f"{base / mod / kind}: {len(gone)} of {len(scans)} ({layout.named(gone)}): {way}")
    listed = _listed(root)
    bare = [entry.path.parent.name for entry in listed if entry.label == "forged" and entry.mask is None]
    if bare:
        missing.append(f"the mask of {len(bare)} slices ({layout.named(sorted(set(bare)))}): unpack the archive again")
    return Findings.of(listed, FACTS.layout, missing)


def _base(root: Path) -> Path:
    """The folder that holds pix2pix/, cycle/, diffusion/ and real/."""
    return next((root / name for name in ("", "M3Dsynth") if any((root / name / mod).is_dir() for mod in MODS)), root)


def _table(root: Path, name: str) -> Path:
    path = layout.first(folder / name for folder in (root, root / "data", _base(root), _base(root) / "data"))
    if path is None:
        way_out = "copy data/data.csv and data/sets.csv of github.com/grip-unina/M3Dsynth there"
        raise layout.absent(FACTS.title, root, (name, f"data/{name}"), way_out)
    return path


def _scans(root: Path) -> list[_Scan]:
    """The rows of data.csv with the set of their patient."""
    data, sets = _table(root, "data.csv"), _table(root, "sets.csv")
    parts: dict[str, str] = {}
    for row in layout.rows(sets, SET_COLUMNS):
        part = PARTS.get(row["set"], "")
        if parts.setdefault(row["orig_id"], part) != part:
            raise InputError(f"{sets} puts {row['orig_id']} into two sets", hint="fetch the table again")
    found = []
    for row in layout.rows(data, DATA_COLUMNS):
        if row["mod"] not in MODS:
            raise UnreadableError(
                f"cannot read {data}: unknown mod {row['mod']!r}", hint=f"use one of {', '.join(MODS)}"
            )
        k, j, i = (layout.whole(row[f"coord_{axis}"], data) for axis in "zyx")
        patient = row["orig_id"]
        found.append(_Scan(layout.within(row["img_id"], data), row["mod"], patient, (k, j, i), parts.get(patient, "")))
    return found


def _listed(root: Path) -> list[Entry]:
    """The slices of all scans without their digests; a scan that stands under many names is listed once."""
    base, found, seen = _base(root), [], set[Path]()
    for scan in sorted(_scans(root), key=lambda scan: (MODS.index(scan.mod), scan.name)):
        folder = scan.folder(base, "scan")
        real = folder.resolve()
        if not folder.is_dir() or real in seen:
            continue
        seen.add(real)
        found += _slices(scan, folder, scan.folder(base, "label"))
    return found


def _slices(scan: _Scan, folder: Path, masks: Path) -> list[Entry]:
    forged = scan.mod != "real"
    return [
        Entry(
            path,
            "m3dsynth",
            scan.patient,
            f"{scan.mod}/{scan.name}",
            "",
            label="forged" if forged else "authentic",
            generator=f"m3dsynth-{scan.mod}" if forged else "",
            mask=masks / path.name if forged and (masks / path.name).is_file() else None,
            places=(scan.place,) if forged else (),
            modality="CT",
            part=scan.part,
        )
        for path in sorted(folder.glob("slide*.tiff"))
    ]
