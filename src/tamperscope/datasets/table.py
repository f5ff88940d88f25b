"""Manifests: which files, whose, which of them forged, and which part of a split each is in, as CSV or Parquet.

One row a file. ``path``, ``patient`` and ``label`` are needed, the other columns of `COLUMNS` are optional; paths are
relative to the folder of the images, so that a manifest can be published. What `write` writes says in front (a line
beginning with ``#`` in CSV, the metadata in Parquet) how it came about, and holds the SHA-256 of its own rows: a row
that was changed by hand is found. CSV needs nothing; Parquet needs pyarrow (``pip install 'tamperscope[parquet]'``).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tamperscope.datasets import layout, leaks
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import PARTS, Entry, Place, Tick, digest, digested
from tamperscope.errors import (
    InputError,
    MissingExtraError,
    UnreadableError,
    UsageError,
)
from tamperscope.records import JSON

SCHEMA = "tamperscope/manifest/1"
COLUMNS = (
    "path",
    "collection",
    "patient",
    "series",
    "label",
    "generator",
    "mask",
    "places",
    "modality",
    "scanner",
    "grade",
    "part",
    "sha256",
)
NEEDED = ("path", "patient", "label")
NAMES = ("manifest.csv", "manifest.parquet")
"""What is looked for where a folder is given."""
PARQUET = ".parquet"

FACTS = Facts(
    name="manifest",
    title="CSV or Parquet manifest",
    source="`tamperscope datasets manifest`, or a table of your own",
    licence="that of the images",
    modality="any",
    patients="as listed",
    patient_key="the column patient",
    layout=f"manifest.csv or manifest.parquet with the columns {', '.join(NEEDED)}; optional: "
    f"{', '.join(column for column in COLUMNS if column not in NEEDED)}",
    generators=("as listed",),
    checked_against="generated files",
    traps=(
        "A patient key that two collections share is refused: write it as collection/patient, or, if it is one person, "
        "give both rows one collection.",
        "The label is that of the whole series or picture; places and mask say where.",
    ),
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a manifest, and how it came about."""

    entries: tuple[Entry, ...]
    root: Path
    """The folder that the paths of the rows are relative to."""
    about: Mapping[str, JSON] = field(default_factory=dict)
    """Data set, split, seed, parts; empty for a table that tamperscope did not write."""


def check_target(path: Path) -> None:
    """Whether `write` could write there, before the work is done of which the manifest is the end.

    Raises:
        UsageError: neither .csv nor .parquet.
        MissingExtraError: Parquet without pyarrow.
    """
    if path.suffix not in (".csv", PARQUET):
        raise UsageError(f"{path} is neither .csv nor .parquet", hint="choose one of these suffixes")
    if path.suffix == PARQUET:
        _pyarrow()


def write(path: Path, entries: Sequence[Entry], root: Path, about: Mapping[str, JSON] | None = None) -> str:
    """Write a manifest; the suffix of ``path`` says whether CSV or Parquet.

    Args:
        path: ``*.csv`` or ``*.parquet``.
        entries: with digests; their files lie below ``root``.
        root: the folder of the images.
        about: what else to write in front: split, seed, shares.

    Returns:
        The SHA-256 of the rows, as the manifest itself states it.

    Raises:
        UsageError: another suffix, a file outside ``root`` or with a name that is no UTF-8, or a place that cannot be
            written.
        MissingExtraError: Parquet without pyarrow.
    """
    check_target(path)
    text = _rows(entries, root)
    proof = hashlib.sha256(text.encode()).hexdigest()
    head: dict[str, JSON] = {
        "schema": SCHEMA,
        **(about or {}),
        "root": Path(os.path.relpath(root.resolve(), path.resolve().parent)).as_posix(),
        "files": len(entries),
        "data_sha256": digest(entries),
        "rows_sha256": proof,
    }
    front = json.dumps(head, ensure_ascii=False)
    data = _to_parquet(text, front) if path.suffix == PARQUET else f"# {front}\n{text}".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="choose a folder that you may write to"
        ) from error
    return proof


def read(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest; no image is opened, but all have to be there.

    Args:
        path: ``*.csv`` or ``*.parquet``, or a folder that holds manifest.csv or manifest.parquet.
        root: the folder of the images; without one, that which the manifest states, else its own.

    Raises:
        UnreadableError: no such file, no such table, a missing image, or a row that was changed after writing.
        InputError: two patients have one key, or a file stands twice with different facts.
        UnsafePathError: a row names a file outside ``root``.
        MissingExtraError: Parquet without pyarrow.
    """
    manifest = _read(path, root)
    gone = _gone(manifest)
    if gone:
        raise UnreadableError(
            f"{path}: {len(gone)} of {len(manifest.entries)} files are missing below {manifest.root} "
            f"({layout.named(gone)})",
            hint="give the folder of the images, or make the manifest again",
        )
    return manifest


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """The rows of the manifest at or in ``root``, their files compared with the digests that it states.

    Raises:
        UnreadableError: see `read`, or a file that is not the one that was listed.
        InputError: two patients have one key, or a file stands twice with different facts.
    """
    listed = read(root).entries
    real = digested(listed, tick)
    changed = [str(now.path) for was, now in zip(listed, real, strict=True) if was.sha256 not in ("", now.sha256)]
    if changed:
        raise UnreadableError(
            f"{len(changed)} files are not those that the manifest lists ({layout.named(changed)})",
            hint="fetch them again, or make the manifest again",
        )
    return real


def check(root: Path) -> Findings:
    """The rows, whether their files and masks are there, and whether a patient or a file is in two parts.

    Raises:
        UnreadableError: no such table, or a row that was changed after writing.
        InputError: two patients have one key, or a file stands twice with different facts.
    """
    manifest = _read(root, None)
    missing = [f"{name}: fetch it, or make the manifest again" for name in _gone(manifest)]
    masks = {entry.mask for entry in manifest.entries if entry.mask is not None}
    missing += [f"{mask}: the mask of a forgery" for mask in sorted(masks) if not mask.is_file()]
    parts = Counter(entry.part for entry in manifest.entries if entry.part)
    notes = [f"part {part}: {parts[part]} files" for part in PARTS if part in parts]
    shared = [str(leak) for leak in leaks.find(manifest.entries, pixels=False)]
    return Findings.of(manifest.entries, FACTS.layout, missing, notes, shared)


# --- rows ---


def _rows(entries: Iterable[Entry], root: Path) -> str:
    """The rows as CSV, header first: what the proof is taken of, whatever the format of the file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow(
            [
                _relative(entry.path, root),
                entry.collection,
                entry.patient,
                entry.series,
                entry.label,
                entry.generator,
                "" if entry.mask is None else _relative(entry.mask, root),
                "; ".join(" ".join(str(index) for index in place) for place in entry.places),
                entry.modality,
                entry.scanner,
                entry.grade,
                entry.part,
                entry.sha256,
            ]
        )
    return out.getvalue()


def _relative(path: Path, root: Path) -> str:
    try:
        name = path.relative_to(root).as_posix()
    except ValueError as error:
        raise UsageError(f"{path} lies outside {root}", hint="give the folder that holds all images") from error
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name!r} is no UTF-8, which a manifest is written in", hint="rename the file") from error
    return name


def _read(path: Path, root: Path | None) -> Manifest:
    file = _file(path)
    front, rows = _from_parquet(file) if file.suffix == PARQUET else _from_csv(file)
    stated = front.get("root")
    base = root or (file.parent / stated if isinstance(stated, str) else file.parent)
    found: dict[Path, Entry] = {}
    collections: dict[str, str] = {}
    for row in rows:
        entry = _entry(row, base, file)
        if found.setdefault(entry.path, entry) != entry:
            raise InputError(f"{file} lists {row['path']} twice with different facts", hint="keep one of the two rows")
        other = collections.setdefault(entry.patient, entry.collection)
        if other != entry.collection:
            raise InputError(
                f"{file}: {other or 'no collection'} and {entry.collection or 'no collection'} both have a patient "
                f"{entry.patient}",
                hint="write the key as collection/patient; if it is one person, give both rows one collection",
            )
    if not found:
        raise UnreadableError(f"{file} lists no file", hint="make the manifest again")
    listed = tuple(found.values())
    proof = hashlib.sha256(_rows(listed, base).encode()).hexdigest()
    if front.get("rows_sha256", proof) != proof:
        raise UnreadableError(
            f"{file}: the rows are not those that were written", hint="make it again, or remove its first line"
        )
    return Manifest(listed, base, front)


def _file(path: Path) -> Path:
    file = layout.first(path / name for name in NAMES) if path.is_dir() else path
    if file is None or not file.is_file():
        raise layout.absent(FACTS.title, path, NAMES, "give the manifest itself")
    return file


def _gone(manifest: Manifest) -> list[str]:
    return [_relative(entry.path, manifest.root) for entry in manifest.entries if not entry.path.is_file()]


def _entry(row: Mapping[str, str], base: Path, file: Path) -> Entry:
    cells = {column: row.get(column) or "" for column in COLUMNS}
    if not cells["path"] or not cells["patient"]:
        raise UnreadableError(f"cannot read {file}: a row without path or patient", hint="each file has a patient")
    if cells["part"] not in ("", *PARTS):
        raise UnreadableError(
            f"cannot read {file}: unknown part {cells['part']!r}", hint=f"use one of {', '.join(PARTS)}"
        )
    return Entry(
        _below(base, cells["path"], file),
        cells["collection"],
        cells["patient"],
        cells["series"],
        cells["sha256"],
        label=layout.truth(cells["label"], file),
        generator=cells["generator"],
        mask=_below(base, cells["mask"], file) if cells["mask"] else None,
        places=tuple(_place(text, file) for text in cells["places"].split(";") if text.strip()),
        modality=cells["modality"],
        scanner=cells["scanner"],
        grade=cells["grade"],
        part=cells["part"],
    )


def _below(base: Path, name: str, file: Path) -> Path:
    return base / layout.within(name, file)


def _place(text: str, file: Path) -> Place:
    return tuple(layout.whole(index, file) for index in text.split())


# --- formats ---


def _from_csv(file: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    try:
        first, _, body = file.read_text(encoding="utf-8-sig").partition("\n")
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot read {file}: {error}", hint="give a CSV file in UTF-8") from error
    if not first.startswith("#"):
        return {}, layout.rows(file, NEEDED)
    return _front(first.removeprefix("#"), file), layout.parsed(body, file, NEEDED)


def _front(text: str, file: Path) -> dict[str, Any]:
    try:
        front = json.loads(text)
        if front["schema"] != SCHEMA:
            raise ValueError(front["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"cannot read {file}: its first line is no {SCHEMA}", hint="make it again, or remove that line"
        ) from error
    return dict(front)


def _to_parquet(text: str, front: str) -> bytes:
    pyarrow, parquet = _pyarrow()
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = {column: pyarrow.array([row[column] for row in rows], pyarrow.string()) for column in COLUMNS}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata({"tamperscope": front}), out)
    return out.getvalue()


def _from_parquet(file: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(file)
        front = (table.schema.metadata or {}).get(b"tamperscope")
        lacking = [column for column in NEEDED if column not in table.column_names]
        rows = [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in table.to_pylist()]
    except (OSError, pyarrow.ArrowException) as error:
        raise UnreadableError(f"cannot read {file}: no Parquet table", hint="make the manifest again") from error
    if lacking:
        hint = f"it needs the columns {', '.join(NEEDED)}"
        raise UnreadableError(f"cannot read {file}: no column {layout.named(lacking)}", hint=hint)
    return ({} if front is None else _front(front.decode(), file)), rows


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
