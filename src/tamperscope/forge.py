"""Forgeries of a study as files: which attack, at which place, written, marked, with its truth and its record.

    opened(paths) ─▶ Source ─┬─ sample(source, plan, seed, at) ─▶ Order (JSON) ─┬─ save ─▶ files, mask, picture, record
    planned(names) ─▶ Plan ──┘                                       replay ────┘

The order says everything that `save` does, so a record replays bit for bit, the UIDs included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from pydicom.dataset import Dataset

from tamperscope import __version__, attacks, study, writers
from tamperscope.attacks import Attack, cubes
from tamperscope.attacks.chain import Chain
from tamperscope.attacks.headers import HeaderAttack
from tamperscope.attacks.headers import every as every_header_attack
from tamperscope.decode import decode
from tamperscope.errors import AttackError, UnreadableError, UnsupportedError, UsageError
from tamperscope.records import JSON, MaskArray, Series, Study, Volume
from tamperscope.study import DEFAULT_LIMITS, Limits
from tamperscope.writers import Mark, Role, Written
from tamperscope.writers.whole import whole

StrPath: TypeAlias = str | PathLike[str]
Triple: TypeAlias = tuple[int, int, int]
Order: TypeAlias = dict[str, Any]
"""JSON: ``input`` (digest of the voxels), ``pixels`` (attack and params, or None) and ``headers`` (a list of them)."""
Tick: TypeAlias = Callable[[str, int, int], None]

PLACE = re.compile(r"\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*(?:,\s*([-+.\deE]+)\s*)?(mm)?\s*")
NAME = re.compile(r"(forged|benign)-[A-Za-z0-9+_-]+")
"""Of a forgery: what a record calls it becomes the name of files."""
NOTICE = "Synthetic data: made or changed by a program, not a record of a patient. Research use only."
SCRATCH = ".twin"
"""Where a twin is written that nobody asked for, only to be compared with."""
PRISTINE = "pristine"
"""Name of the twin that is the source itself."""


# --- what is forged ---


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
        UsageError: several series and none is named, or a spacing that contradicts the files.
        UnsupportedError: colour.
    """
    reading = study.read(source, limits)
    if reading.failed:
        first = reading.failed[0]
        raise UnreadableError(first.error, hint=first.hint)
    return loaded(chosen(reading.studies, series_uid), modality=modality, spacing_mm=spacing_mm, limits=limits)


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


# --- how ---


@dataclass(frozen=True, slots=True)
class Plan:
    """Attacks in the order in which they are carried out: first on the pixels, then on the headers."""

    pixels: tuple[Attack, ...]
    headers: tuple[HeaderAttack, ...] = ()

    @property
    def name(self) -> str:
        """What records, marks and file names call it."""
        return "+".join([*(step.name for step in self.pixels), *(step.name for step in self.headers)])

    @property
    def attack(self) -> Attack | None:
        """All that happens to the pixels, as one attack."""
        return Chain(self.pixels) if len(self.pixels) > 1 else next(iter(self.pixels), None)

    @property
    def first(self) -> Attack | HeaderAttack:
        """The attack that gives the forgery its kind."""
        return self.pixels[0] if self.pixels else self.headers[0]

    @property
    def harmless(self) -> str:
        """The name of its benign steps alone: what makes the twin, where there are any."""
        return "+".join(step.name for step in self.pixels if step.benign)

    @property
    def benign(self) -> bool:
        """Whether the outcome counts as authentic: nothing but benign changes of the picture."""
        return not self.headers and all(step.benign for step in self.pixels)


def pixel_attacks(donors: tuple[Volume, ...] = ()) -> dict[str, Attack]:
    """Every attack on pixels by its name."""
    return attacks.local(donors) | attacks.synthesis() | attacks.benign()


def attack_named(name: str, mode: str | None = None, donors: tuple[Volume, ...] = ()) -> Attack | HeaderAttack:
    """The attack that a user means by a name and a mode: "ct-gan" and "remove" are "ct-gan-remove".

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    known: dict[str, Attack | HeaderAttack] = {**pixel_attacks(donors), **every_header_attack()}
    full = f"{name}-{mode}" if mode else name
    if full in known:
        return known[full]
    modes = sorted(mode_of(other) for other in known.values() if family(other) == name and mode_of(other))
    if modes:
        raise UsageError(f"{name} has the modes {', '.join(modes)}", hint=f"say --mode {modes[0]}, for example")
    if full in donor_attacks():
        raise UsageError(f"{full} takes a piece of another patient", hint="say with --donor whose")
    if name in known:
        raise UsageError(f"{name} has no mode {mode}", hint="leave --mode out")
    raise UsageError(
        f"unknown attack {full!r}", hint=f"the known ones are {', '.join(sorted({*known, *donor_attacks()}))}"
    )


def mode_of(attack: Attack | HeaderAttack) -> str:
    """The mode that is the last part of an attack's name, or nothing."""
    mode = getattr(attack, "mode", None)
    return mode if isinstance(mode, str) and attack.name.endswith(f"-{mode}") else ""


def family(attack: Attack | HeaderAttack) -> str:
    """An attack's name without its mode: what a benchmark holds out as one generator."""
    return attack.name.removesuffix(f"-{mode_of(attack)}") if mode_of(attack) else attack.name


def donor_attacks() -> frozenset[str]:
    """Names of the attacks that need a piece of another patient."""
    anyone = Volume(np.zeros((1, 1, 1), np.float32), np.eye(4), "CT")
    return frozenset(attacks.local((anyone,)).keys() - attacks.local().keys())


def planned(attack: str, mode: str | None = None, then: Sequence[str] = (), donors: tuple[Volume, ...] = ()) -> Plan:
    """An attack, and what comes after it.

    Raises:
        UsageError: an unknown attack, or one on pixels after one on headers.
    """
    steps = [attack_named(attack, mode, donors), *(attack_named(name, None, donors) for name in then)]
    on_headers = every_header_attack()
    pixels = [step for step in steps if step.name not in on_headers]
    if any(step.name in on_headers for step in steps[: len(pixels)]):
        raise UsageError(f"{steps[0].name} comes before an attack on pixels", hint="name the attacks on headers last")
    return Plan(tuple(pixels), tuple(steps[len(pixels) :]))  # type: ignore[arg-type]  # parted by name


def sample(source: Source, plan: Plan, seed: Sequence[int], at: Triple | None = None) -> Order:
    """Draw one forgery.

    Args:
        source: what is to be forged.
        plan: the attacks.
        seed: of every choice; the same one gives the same order.
        at: voxel (k, j, i); chosen by the attack if None.

    Raises:
        AttackError: the volume, the place or the headers do not suit the attack.
        UsageError: a place for attacks that have none.
        UnsupportedError: an attack on headers where there are none.
    """
    rng = np.random.default_rng(list(seed))
    order: Order = {"input": source.volume.digest, "pixels": None, "headers": []}
    attack = plan.attack
    if attack is not None:
        cubes.require(source.volume, attack)
        order["pixels"] = {"attack": attack.name, "params": attack.sample(source.volume, rng, at)}
    if at is not None and writers.record.centre(order) is None:
        raise UsageError(f"{plan.name} changes no single place", hint="leave --at out")
    if plan.headers:
        datasets = _headers(source)
        with writers.dicom.mapped(source.series.instances[0].source):
            order["headers"] = [{"attack": one.name, "params": one.sample(datasets, rng)} for one in plan.headers]
    return order


def _headers(source: Source) -> list[Dataset]:
    if source.series.format != "dicom":
        raise UnsupportedError(
            f"{source.series.instances[0].source}: has no DICOM header to forge", hint="leave the header attacks out"
        )
    return writers.dicom.headers(source.series, source.limits)


# --- what comes of it ---


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One series that was written, and its record."""

    name: str
    """With its prefix: the folder of a DICOM series, the stem of everything that lies beside it."""
    record: Mapping[str, Any]


def prepare(out: Path, inputs: Iterable[StrPath]) -> None:
    """Make the folder ``out``, and see that nothing of the input lies in it or round it.

    Raises:
        UsageError: not empty, inside an input, or it cannot be made.
    """
    for one in map(Path, inputs):
        if one.is_dir() and out.resolve().is_relative_to(one.resolve()):
            raise UsageError(f"{out} lies inside the input {one}", hint="choose a folder elsewhere")
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = next(out.iterdir(), None)
    except OSError as error:
        hint = "choose a folder that you may write to"
        raise UsageError(f"cannot make {out}: {error.strerror}", hint=hint) from error
    if taken is not None:
        raise UsageError(f"{out} is not empty", hint="choose an empty folder: nothing is overwritten")


def forge(
    source: Source,
    plan: Plan,
    out: Path,
    *,
    count: int = 1,
    seed: int = 0,
    at: Triple | None = None,
    twin: bool = False,
    tick: Tick | None = None,
) -> list[Item]:
    """Make forgeries of one series, each a series of its own, and write them with all that belongs to them.

    Args:
        source: what is forged; never changed.
        plan: the attacks.
        out: an existing folder, see `prepare`.
        count: how many.
        seed: of every choice. Forgery n is drawn from (seed, n), whatever the count.
        at: voxel (k, j, i) of all of them; each attack chooses its own if None.
        twin: write the pristine twin too: the source, or what the benign steps alone make of it.
        tick: told of progress, if given.

    Raises:
        UsageError: less than one, or a folder that cannot be written.
        AttackError: the volume does not suit the attack. Those made before stay.
        UnsupportedError: a format that cannot hold a forgery exactly.
    """
    if count < 1:
        raise UsageError(f"{count} forgeries", hint="ask for one at least")
    made = [save_pristine(source, out)] if twin and not processed(plan) else []
    for number in range(1, count + 1):
        if tick is not None:
            tick("forging", number - 1, count)
        order = sample(source, plan, (seed, number), at)
        made += save(source, plan, order, out, f"{plan.name}-{number}", twin=twin, about={"seed": [seed, number]})
    return made


def replay(
    source: Source, record: Mapping[str, Any], out: Path, donors: tuple[Volume, ...] = (), *, twin: bool = False
) -> list[Item]:
    """Make the forgery of a record again, bit for bit, its UIDs too.

    Args:
        source: the series that it was made from.
        record: as `writers.record.read` gives it.
        out: an existing folder, see `prepare`.
        donors: the volumes of other patients that took part.
        twin: write the pristine twin too.

    Raises:
        UsageError: the record is that of a twin, or was changed after it was written.
        AttackError: another series, or the outcome differs: it was made by another version.
    """
    try:
        order, name, about = dict(record["order"]), str(record["name"]), dict(record["about"])
        first, *others = _attacks_of(order)
        sound = NAME.fullmatch(name) and writers.record.digest(order) == record["order_sha256"]
        expected = record["voxels_sha256"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the record is not whole: {error!r}", hint="give that of a forgery, as written") from error
    if not sound:
        raise UsageError("the record was changed after it was written", hint="give it as it was written")
    if order["input"] != source.volume.digest:
        raise AttackError(f"{name} was made from another series", hint="give the study that it was made from")
    plan = planned(first, None, others, donors)
    stem = name.removeprefix(f"{_role(plan)}-")
    made = [save_pristine(source, out)] if twin and not processed(plan) else []
    made += save(source, plan, order, out, stem, twin=twin, about=about)
    if made[-1].record["voxels_sha256"] != expected:
        raise AttackError(
            f"{plan.name} gave other voxels than the record says", hint="replay it with the version that made it"
        )
    return made


def _attacks_of(order: Order) -> list[str]:
    """The names of the attacks of an order, one after the other."""
    pixels = order["pixels"]
    steps = [] if pixels is None else pixels["params"].get("steps", [pixels])
    return [str(step["attack"]) for step in (*steps, *order["headers"])]


def processed(plan: Plan) -> bool:
    """Whether the pristine twin is not the source itself, but what the benign steps of the plan make of it."""
    return not plan.benign and any(step.benign for step in plan.pixels)


def save_pristine(source: Source, out: Path, about: Mapping[str, JSON] | None = None) -> Item:
    """Write the source itself through the writer of the forgeries: the negative to all of them that have no other.

    Raises:
        UsageError: the folder cannot be written.
        UnsupportedError: a format that cannot hold it exactly.
    """
    order: Order = {"input": source.volume.digest, "pixels": None, "headers": []}
    with whole(out) as scratch:
        written = writers.write(
            source.series, source.volume, source.volume, scratch, PRISTINE, None, limits=source.limits
        )
        facts = {"role": writers.TWIN, "attack": "none", "twin": None, "about": dict(about or {})}
        return _recorded(source, f"{writers.TWIN}-{PRISTINE}", facts, order, written, None, scratch)


def save(
    source: Source,
    plan: Plan,
    order: Order,
    out: Path,
    name: str,
    *,
    twin: bool = False,
    about: Mapping[str, JSON] | None = None,
) -> list[Item]:
    """Carry out an order and write what comes of it: the series, mask, picture and record; the twin before it.

    Args:
        source: what is forged; never changed.
        plan: the attacks that the order was sampled from.
        order: see `sample`.
        out: an existing folder. Nothing appears in it before all of it is there.
        name: stem of the files, without the role that stands before it.
        twin: keep the twin that the benign steps make; one that is the source itself, `save_pristine` writes.
        about: what else the record shall say, the seed for example.

    Returns:
        The twin, if it was kept, and the forgery.

    Raises:
        UsageError: the folder cannot be written.
        AttackError: the order does not fit the volume, or changes no voxel of it.
        UnsupportedError: a format that cannot hold it exactly.
    """
    facts = {"twin": _twin_name(plan, name) if twin else None, "about": dict(about or {})}
    forged, before = _applied(source, plan, order)
    made = []
    with whole(out) as scratch:
        if processed(plan):
            kept, before = _written_twin(source, plan, order, before, scratch, name, facts, keep=twin)
            made += kept
        made.append(_written_forgery(source, plan, order, forged, before, scratch, name, facts))
    return made


def _written_twin(
    source: Source,
    plan: Plan,
    order: Order,
    twin: Volume,
    folder: Path,
    name: str,
    facts: Mapping[str, JSON],
    *,
    keep: bool,
) -> tuple[list[Item], Volume]:
    """What the benign steps alone made, as its files hold it: the truth is told against that, kept or not."""
    mark = Mark(plan.harmless, writers.record.digest(order), writers.TWIN)
    where = folder if keep else folder / SCRATCH
    written = writers.write(source.series, source.volume, twin, where, name, mark, limits=source.limits)
    if not keep:
        return [], written.volume
    facts = {**facts, "role": writers.TWIN, "attack": plan.harmless, "twin": None}
    return [_recorded(source, f"{writers.TWIN}-{name}", facts, order, written, None, folder)], written.volume


def _written_forgery(
    source: Source,
    plan: Plan,
    order: Order,
    forged: Volume,
    before: Volume,
    folder: Path,
    name: str,
    facts: Mapping[str, JSON],
) -> Item:
    role = _role(plan)
    mark, full = Mark(plan.name, writers.record.digest(order), role), f"{role}-{name}"
    edit = _edit(plan, order)
    written = writers.write(source.series, source.volume, forged, folder, name, mark, edit=edit, limits=source.limits)
    mask = np.zeros(before.shape, dtype=bool) if plan.benign else written.volume.voxels != before.voxels
    if not mask.any() and any(not step.benign for step in plan.pixels):
        raise AttackError(f"{plan.name} changed no voxel here", hint="choose another seed or another place")
    writers.mask.write(written.volume, mask, folder / f"{full}{writers.mask.SUFFIX}")
    if plan.pixels:
        picture = folder / f"{full}{writers.comparison.SUFFIX}"
        writers.comparison.write(picture, before, written.volume, mask, mark)
    return _recorded(source, full, {**facts, "role": role, "attack": plan.name}, order, written, mask, folder)


def _recorded(
    source: Source,
    name: str,
    facts: Mapping[str, JSON],
    order: Order,
    written: Written,
    mask: MaskArray | None,
    folder: Path,
) -> Item:
    """Write the record ``NAME.json``: the order, and what came of it."""
    record: dict[str, Any] = {
        "notice": NOTICE,
        "tool": {"name": "tamperscope", "version": __version__},
        "name": name,
        **facts,
        "order": order,
        "order_sha256": writers.record.digest(order),
        **writers.record.outcome(source.volume, written, mask, order, folder),
    }
    writers.record.write(record, folder / f"{name}{writers.record.SUFFIX}")
    return Item(name, record)


def _role(plan: Plan) -> Role:
    return "benign" if plan.benign else "forged"


def _twin_name(plan: Plan, name: str) -> str:
    return f"{writers.TWIN}-{name if processed(plan) else PRISTINE}"


def _applied(source: Source, plan: Plan, order: Order) -> tuple[Volume, Volume]:
    """The forgery, and what it is to be compared with, on the same grid: the twin, or the source where that is it."""
    attack, pixels = plan.attack, order["pixels"]
    if attack is None or pixels is None:
        return source.volume, source.volume
    try:
        forged = attack.apply(source.volume, pixels["params"]).volume
        if processed(plan) and isinstance(attack, Chain):
            return forged, attack.twin(source.volume, pixels["params"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AttackError(
            f"the parameters of {attack.name} do not fit: {error!r}", hint="give a record as it was written"
        ) from error
    region = writers.covered(source.volume, forged)
    return forged, replace(forged, voxels=source.volume.voxels[region])


def _edit(plan: Plan, order: Order) -> writers.Edit | None:
    """All header attacks of the plan, one after the other."""
    if not plan.headers:
        return None

    def edit(datasets: Sequence[Dataset]) -> list[Dataset]:
        forged = list(datasets)
        for attack, step in zip(plan.headers, order["headers"], strict=True):
            forged = attack.apply(forged, step["params"])
        return forged

    return edit
