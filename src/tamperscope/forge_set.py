"""A whole benchmark set from many studies and one recipe: in parallel, resumable, with a manifest.

    recipe (TOML) ─┐
    studies ───────┴─▶ tasks ─▶ pool ─▶ DIR/ITEM/… ─▶ manifest.csv, manifest.jsonl

Each item is a folder that appears at once, with all that belongs to it: a run that was killed goes on where it stopped.
What an item is depends on the recipe's seed, the bytes of its series and its number alone, not on the run, the order of
the studies or the number of processes.

`manifest.csv` has one row a file, with the columns `COLUMNS`; the first ones are those that `tamperscope datasets`
reads. `manifest.jsonl` has one line a series: its record.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

from pydicom import dcmread

from tamperscope import forge, study, writers
from tamperscope.datasets.manifest import dealt
from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UsageError
from tamperscope.plan import anyone, donor_attacks, family, mode_of
from tamperscope.recipe import Line, Recipe, read_recipe
from tamperscope.records import JSON, Failure, Series, Volume
from tamperscope.report.files import save
from tamperscope.source import Source, loaded
from tamperscope.study import DEFAULT_LIMITS, Limits, payload

Tick: TypeAlias = Callable[[str, int, int], None]

RECIPE, TABLE, LINES = "recipe.toml", "manifest.csv", "manifest.jsonl"
STEM = "series"
"""What follows the role in the names of an item's files; its folder says all the rest."""
TOGETHER = 4
"""Tasks on one series that a process takes at a time: it decodes the series once for them."""

COLUMNS = (
    "path",  # of the file, relative to the folder of the set
    "collection",  # the name of the recipe
    "patient",  # a key; see `_patient`
    "series",  # folder or stem of the series below the set
    "label",  # "authentic" or "forged": of the whole series
    "generator",  # the attack without its mode, "" for what is authentic
    "mask",  # NIfTI on the grid of the series, 1 where a voxel differs from the twin
    "places",  # centre of the forgery, "k j i"
    "modality",
    "scanner",  # manufacturer and model
    "part",  # "train", "calibrate", "test" or ""
    "sha256",  # of the file
    "role",  # "forged", "benign" or "twin"
    "attack",  # with its mode and all that came after it; "none" for a pristine twin
    "mode",
    "twin",  # series of its twin, where the recipe asks for one
    "place_mm",  # x y z in LPS
    "changed_voxels",  # in this file
    "record",
    "picture",
    "kernel",
    "slice_thickness_mm",
    "spacing_mm",  # along slices, rows and columns
    "source",  # digest of the series that it was made from
)


# --- what is to be made ---


@dataclass(frozen=True, slots=True)
class Subject:
    """One series, whose it is, and where it belongs in the split."""

    series: Series
    key: str
    """SHA-256 over the digests of its files, hexadecimal."""
    patient: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One item: a folder of its own."""

    name: str
    subject: Subject
    line: Line | None
    """None for the pristine twin."""
    number: int = 0
    seed: tuple[int, ...] = ()
    donor: Series | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    items: int
    """In the set now."""
    made: int
    """In this run; the others were there."""
    failed: tuple[Failure, ...]


def subjects(
    sources: Iterable[str | Path], recipe: Recipe, limits: Limits = DEFAULT_LIMITS
) -> tuple[list[Subject], list[Failure]]:
    """Every series below the sources with its patient and its part, in order of their digests, and what failed."""
    reading = study.read(list(sources), limits)
    failed = list(reading.failed)
    found: dict[str, Subject] = {}
    for series in (series for one in reading.studies for series in one.series):
        key = hashlib.sha256("\n".join(sorted(each.sha256 for each in series.instances)).encode()).hexdigest()
        source = series.instances[0].source
        try:
            patient = _patient(series, recipe, limits)
        except TamperscopeError as error:
            failed.append(Failure(source, error.message, error.hint))
            continue
        if key in found:
            first = found[key].series.instances[0].source
            failed.append(Failure(source, f"{source}: the same files as {first}", "give each series once"))
            continue
        found[key] = Subject(series, key, patient)
    _check_patients(found.values(), recipe, limits)
    parts = _parts({subject.patient for subject in found.values()}, recipe)
    dealt = [Subject(one.series, one.key, one.patient, parts.get(one.patient, "")) for one in found.values()]
    return sorted(dealt, key=lambda subject: subject.key), failed


def _check_patients(found: Iterable[Subject], recipe: Recipe, limits: Limits) -> None:
    """Refuse a key that two patients share, and a split of files that do not say whose they are.

    Raises:
        UsageError: see above; the message names the files.
    """
    owners: dict[str, tuple[str, str]] = {}
    for one in found:
        source = one.series.instances[0].source
        if one.series.format != "dicom":
            if recipe.divided and recipe.patient is None:
                raise UsageError(
                    f"{source} does not say whose it is, so a patient could be in two parts",
                    hint="say in the recipe how its name does, as in patient = '^([0-9]+)', or leave out [parts]",
                )
            who = "" if recipe.patient else source
        else:
            who = "" if recipe.patient else _identity(one.series, limits)
        first, named = owners.setdefault(one.patient, (source, who))
        if who != named:
            raise UsageError(
                f"{first} and {source} are of two patients with one key",
                hint="say with patient = what differs",
            )


def _identity(series: Series, limits: Limits) -> str:
    """Name and birth date of a DICOM series' patient (PS3.3 C.2.2), which are compared and never kept."""
    data = payload(series.instances[0], limits)
    tags = ["PatientName", "PatientBirthDate"]
    header = dcmread(BytesIO(data), force=True, stop_before_pixels=True, specific_tags=tags)
    name, born = (str(header.get(tag) or "") for tag in tags)
    return "/".join((name.rstrip("^ ").casefold(), born))


def _patient(series: Series, recipe: Recipe, limits: Limits) -> str:
    """The key of the patient: what the recipe's pattern finds, else a digest.

    DICOM: of Patient ID and its issuer (PS3.3 C.2.2). Where there is none, and for other formats, of the file's name.
    A digest is no protection against one who can guess the name; do not publish a set of patients without consent.
    """
    source = series.instances[0].source
    if recipe.patient is not None:
        match = re.search(recipe.patient, Path(source).name) or re.search(recipe.patient, source)
        if match is None:
            raise UnreadableError(f"{source}: the pattern {recipe.patient!r} finds no patient", hint="change it")
        return match[1]
    words = [Path(source).name]
    if series.format == "dicom":
        data = payload(series.instances[0], limits)
        tags = ["PatientID", "IssuerOfPatientID"]
        header = dcmread(BytesIO(data), force=True, stop_before_pixels=True, specific_tags=tags)
        stated = [str(header.get(tag) or "") for tag in tags]
        words = stated if stated[0] else [series.study_uid or words[0]]
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:12]


def _parts(patients: Iterable[str], recipe: Recipe) -> dict[str, str]:
    """Patients dealt to the parts by a file, or by their shares, in an order that the seed shuffles.

    Raises:
        UsageError: a part would stay empty.
        InputError: the file is no split, or leaves a patient out.
    """
    if recipe.split is not None:
        known = set(patients)
        return {patient: part for patient, part in dealt(recipe.split, known).items() if patient in known}
    ranked = sorted(patients, key=lambda patient: _number(recipe.seed, "part", patient))
    parts: dict[str, str] = {}
    done, share = 0, 0.0
    for part, more in recipe.parts.items():
        share += more
        end = round(share * len(ranked))
        if ranked and more > 0 and end == done:
            raise UsageError(
                f"{len(ranked)} patients leave the part {part} empty", hint="give more patients, or other shares"
            )
        parts |= dict.fromkeys(ranked[done:end], part)
        done = end
    return parts


def _number(*words: object) -> int:
    """A number of 128 bits that depends on the words alone."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, words)).encode()).digest()[:16], "big")


def tasks(found: Sequence[Subject], recipe: Recipe) -> list[Task]:
    """Every item of the set, series by series."""
    wanted: dict[str, list[Task]] = {subject.key: [] for subject in found}
    pristine: set[str] = set()
    for row, line in enumerate(recipe.lines, start=1):
        plan = line.plan((anyone(),))
        inside = [subject for subject in found if subject.part == "" or subject.part in line.parts]
        ranked = sorted(inside, key=lambda subject: _number(recipe.seed, row, "share", subject.key))
        for subject in ranked[: round(line.share * len(ranked))]:
            if line.twin and not plan.processed:
                pristine.add(subject.key)
            wanted[subject.key] += [
                _task(subject, line, f"{row:02d}-{plan.name}", number, recipe, found) for number in range(line.count)
            ]
    twins = {s.key: [Task(f"{s.key[:10]}-twin", s, None)] for s in found if s.key in pristine}
    return [task for key, made in wanted.items() for task in (*twins.get(key, ()), *made)]


def _task(subject: Subject, line: Line, name: str, number: int, recipe: Recipe, found: Sequence[Subject]) -> Task:
    drawn = _number(recipe.seed, name, subject.key, number)
    seed = (drawn >> 64, drawn & (2**64 - 1))
    # A donor comes from the same part of the split: else a patient's pixels would be in two.
    others = [
        one.series
        for one in found
        if (one.part, one.series.modality) == (subject.part, subject.series.modality) and one.patient != subject.patient
    ]
    needs = {line.attack, *line.then} & donor_attacks()
    donor = others[drawn % len(others)] if needs and others else None
    return Task(f"{subject.key[:10]}-{name}-{number + 1}", subject, line, number, seed, donor)


# --- making it ---


def make(
    sources: Sequence[str | Path],
    recipe_path: Path,
    out: Path,
    *,
    jobs: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    tick: Tick | None = None,
) -> Outcome:
    """Make a set, or what is missing of it.

    Args:
        sources: files, folders, zips or DICOMDIRs with authentic studies; never changed.
        recipe_path: what to make.
        out: a new or empty folder, or one in which the same recipe was begun. One run at a time.
        jobs: processes. With more than one, a script calls this below ``if __name__ == "__main__":``.
        limits: what an input may ask for.
        tick: told of progress, if given.

    Returns:
        How many items there are, and which could not be made: one that does not suit its attack stops no other.

    Raises:
        UsageError: a wrong recipe, or a folder that holds something else.
        UnreadableError: nothing could be read.
        LimitError: a process died, most likely for want of memory.
    """
    recipe = read_recipe(recipe_path)
    _prepare(out, sources, recipe, recipe_path)
    found, failed = subjects(sources, recipe, limits)
    if not found:
        first = failed[0] if failed else Failure("", "no image", "")
        raise UnreadableError(f"nothing could be read: {first.error}", hint=first.hint)
    every = tasks(found, recipe)
    missing = [task for task in every if not (out / task.name).is_dir()]
    done = len(every) - len(missing)
    for batch, problems in _run(missing, out, recipe, jobs, limits):
        done += batch
        failed += problems
        if tick is not None:
            tick("forging", done, len(every))
    present = [task.name for task in every if (out / task.name).is_dir()]
    _write_manifest(out, present)
    return Outcome(len(present), len(present) - (len(every) - len(missing)), tuple(failed))


def _prepare(out: Path, sources: Sequence[str | Path], recipe: Recipe, recipe_path: Path) -> None:
    """An empty folder gets a copy of the recipe; one that has the same is gone on with, without half-made items."""
    kept = out / RECIPE
    if not kept.is_file():
        forge.prepare(out, sources)
        save(kept, recipe_path.read_bytes())
    elif read_recipe(kept, recipe_path.parent) != recipe:
        raise UsageError(f"{out} was made by another recipe", hint=f"choose an empty folder, or use {kept}")
    for one in map(Path, sources):
        if one.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"the input {one} lies in {out}", hint="choose a folder elsewhere")
    for left in out.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _run(
    missing: Sequence[Task], out: Path, recipe: Recipe, jobs: int, limits: Limits
) -> Iterator[tuple[int, list[Failure]]]:
    """Carry out the tasks; after each batch, how many there were and what failed."""
    batches = list(_batches(missing))
    if jobs == 1 or len(batches) < 2:
        for batch in batches:
            yield len(batch), _made(batch, out, recipe, limits)
        return
    # Spawned: a forked child inherits the threads of libraries in the state in which they happen to be.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(batches)), context, initializer=_end_with_parent)
    try:
        futures = {pool.submit(_made, batch, out, recipe, limits): len(batch) for batch in batches}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise LimitError(
            "a process of the pool died, most likely for want of memory",
            hint="run it again with fewer --jobs: it goes on where it stopped",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, however it ends: a killed run leaves nobody at work."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _batches(missing: Sequence[Task]) -> Iterator[list[Task]]:
    """Neighbours of one series, `TOGETHER` at most."""
    batch: list[Task] = []
    for task in missing:
        if batch and (len(batch) == TOGETHER or task.subject.key != batch[0].subject.key):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch


def _made(batch: Sequence[Task], out: Path, recipe: Recipe, limits: Limits) -> list[Failure]:
    """Make items of one series; what goes wrong with one is told and stops no other."""
    failed = []
    source: Source | None = None
    for task in batch:
        where = task.subject.series.instances[0].source
        try:
            if source is None:
                source = loaded(
                    task.subject.series, modality=recipe.modality, spacing_mm=recipe.spacing_mm, limits=limits
                )
            _item(task, source, out, recipe, limits)
        except TamperscopeError as error:
            failed.append(Failure(where, f"{task.name}: {error.message}", error.hint))
        except MemoryError:
            failed.append(Failure(where, f"{task.name}: out of memory", "run it again with fewer --jobs"))
    return failed


def _item(task: Task, source: Source, out: Path, recipe: Recipe, limits: Limits) -> None:
    """Write one item into a folder of its own, which gets its name when all of it is there."""
    partial = out / f".{task.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        subject = task.subject
        about: dict[str, JSON] = {"set": recipe.name, "patient": subject.patient, "part": subject.part}
        about |= {"item": task.name, "source_sha256": subject.key}
        if task.line is None:
            forge.save_pristine(source, partial, about)
        else:
            _forged(task, task.line, source, partial, recipe, limits, about)
        if not (out / task.name).is_dir():  # of a process that outlived its run by a moment: the same, bit for bit
            partial.rename(out / task.name)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}", hint="make room, then run it again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _forged(
    task: Task,
    line: Line,
    source: Source,
    folder: Path,
    recipe: Recipe,
    limits: Limits,
    about: dict[str, JSON],
) -> None:
    donors: tuple[Volume, ...] = ()
    if task.donor is not None:
        settings = {"modality": recipe.modality, "spacing_mm": recipe.spacing_mm, "limits": limits}
        donors = (loaded(task.donor, **settings).volume,)  # type: ignore[arg-type]  # by their names
    elif {line.attack, *line.then} & donor_attacks():
        raise UsageError("no other patient of this modality in this part", hint="give more studies")
    plan = line.plan(donors)
    order = forge.sample(source, plan, task.seed)
    twin = f"{task.subject.key[:10]}-twin/twin-{forge.PRISTINE}" if line.twin and not plan.processed else None
    about |= {"generator": family(plan.first), "mode": mode_of(plan.first)}
    about |= {"seed": list(task.seed), "twin": twin}
    forge.save(source, plan, order, folder, STEM, twin=line.twin, about=about)


# --- the manifest ---


def _write_manifest(out: Path, names: Sequence[str]) -> None:
    """Both manifests anew, from the records of the items that are there."""
    stream, lines = io.StringIO(), io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for name in sorted(names):
        for path in sorted((out / name).glob("*.json")):
            record = writers.record.read(path)
            table.writerows(_rows(name, record))
            lines.write(json.dumps({"folder": name, **record}, allow_nan=False) + "\n")
    save(out / TABLE, stream.getvalue().encode())
    save(out / LINES, lines.getvalue().encode())


def _rows(folder: str, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each file of one series; see `COLUMNS`."""
    stem, source, about, place = f"{folder}/{record['name']}", record["source"], record["about"], record["place"] or {}
    forged, twin = record["role"] == "forged", record["role"] == writers.TWIN
    row = {
        "collection": about["set"],
        "patient": about["patient"],
        "series": stem,
        "label": "forged" if forged else "authentic",
        "generator": about["generator"] if forged else "",
        "mask": "" if twin else f"{stem}{writers.mask.SUFFIX}",
        "places": " ".join(map(str, place.get("index", ()))) if forged else "",
        "modality": source["modality"],
        "scanner": " ".join(str(source[fact]) for fact in ("manufacturer", "model") if source[fact]),
        "part": about["part"],
        "role": record["role"],
        "attack": record["attack"],
        "mode": "" if twin else about["mode"],
        "twin": about["twin"] or f"{folder}/{record['twin']}" if record["twin"] else "",
        "place_mm": " ".join(f"{v:g}" for v in place.get("mm") or ()),
        "record": f"{stem}{writers.record.SUFFIX}",
        "picture": "" if twin or record["order"]["pixels"] is None else f"{stem}{writers.comparison.SUFFIX}",
        "kernel": source["kernel"],
        "slice_thickness_mm": source["slice_thickness_mm"],
        "spacing_mm": " ".join(f"{v:g}" for v in source["spacing_mm"] or ()),
        "source": about["source_sha256"],
    }
    for file in record["files"]:
        yield row | {
            "path": f"{folder}/{file['name']}",
            "sha256": file["sha256"],
            "changed_voxels": file["changed_voxels"],
        }
