"""Forgeries of a study as files: which attack, at which place, written, marked, with its truth and its record.

    opened(paths) ─▶ Source ─┬─ sample(source, plan, seed, at) ─▶ Order (JSON) ─┬─ save ─▶ files, mask, picture, record
    planned(names) ─▶ Plan ──┘                                       replay ────┘

The order says everything that `save` does, so a record replays bit for bit, the UIDs included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from pydicom.dataset import Dataset

from tamperscope import __version__, writers
from tamperscope.attacks import cubes
from tamperscope.attacks.chain import Chain
from tamperscope.errors import AttackError, UnsupportedError, UsageError
from tamperscope.formats.dicom import mapped
from tamperscope.plan import Plan, planned
from tamperscope.records import JSON, MaskArray, Volume
from tamperscope.source import Source, StrPath, Triple
from tamperscope.writers import Mark, Role, Written
from tamperscope.writers.whole import whole

Order: TypeAlias = dict[str, Any]
"""JSON: ``input`` (digest of the voxels), ``pixels`` (attack and params, or None) and ``headers`` (a list of them)."""
Tick: TypeAlias = Callable[[str, int, int], None]

NAME = re.compile(r"(forged|benign)-[A-Za-z0-9+_-]+")
"""Of a forgery: what a record calls it becomes the name of files."""
NOTICE = "Synthetic data: made or changed by a program, not a record of a patient. Research use only."
SCRATCH = ".twin"
"""Where a twin is written that nobody asked for, only to be compared with."""
PRISTINE = "pristine"
"""Name of the twin that is the source itself."""


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
        writers.lossy.declare(datasets, writers.lossy.methods(order))
        with mapped(source.series.instances[0].source):
            order["headers"] = [{"attack": one.name, "params": one.sample(datasets, rng)} for one in plan.headers]
    return order


def _headers(source: Source) -> list[Dataset]:
    if source.series.format != "dicom":
        raise UnsupportedError(
            f"{source.series.instances[0].source}: has no DICOM header to forge", hint="leave the header attacks out"
        )
    return writers.dicom.headers(source.series, source.limits)


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
    # All are drawn before anything is written: what does not suit the attack leaves nothing behind.
    orders = [sample(source, plan, (seed, number), at) for number in range(1, count + 1)]
    made = [save_pristine(source, out)] if twin and not plan.processed else []
    for number, order in enumerate(orders, start=1):
        if tick is not None:
            tick("forging", number - 1, count)
        made += save(source, plan, order, out, f"{plan.name}-{number}", twin=twin, about={"seed": [seed, number]})
    return made


def replay(
    source: Source,
    record: Mapping[str, Any],
    out: Path,
    donors: tuple[Volume, ...] = (),
    *,
    twin: bool = False,
    network: Path | None = None,
) -> list[Item]:
    """Make the forgery of a record again, bit for bit, its UIDs too.

    Args:
        source: the series that it was made from.
        record: as `writers.record.read` gives it.
        out: an existing folder, see `prepare`.
        donors: the volumes of other patients that took part.
        twin: write the pristine twin too.
        network: folder that held the attack's network, if it was not the package's.

    Raises:
        UsageError: the record is that of a twin, or was changed after it was written.
        AttackError: another series, or the outcome differs: it was made by another version.
    """
    try:
        order, name, about = dict(record["order"]), str(record["name"]), dict(record["about"])
        if record["role"] == writers.TWIN:
            raise UsageError(f"{name} is the record of a twin", hint="give that of the forgery: it makes the twin too")
        first, *others = _attacks_of(order)
        sound = NAME.fullmatch(name) and writers.record.digest(order) == record["order_sha256"]
        expected = record["voxels_sha256"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the record is not whole: {error!r}", hint="give that of a forgery, as written") from error
    if not sound:
        raise UsageError("the record was changed after it was written", hint="give it as it was written")
    if order["input"] != source.volume.digest:
        raise AttackError(f"{name} was made from another series", hint="give the study that it was made from")
    plan = planned(first, None, others, donors, network=network)
    stem = name.removeprefix(f"{_role(plan)}-")
    made = [save_pristine(source, out)] if twin and not plan.processed else []
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
        if plan.processed:
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
    edit = _edit(source, Plan(()), order)  # the twin went through the same codecs
    written = writers.write(source.series, source.volume, twin, where, name, mark, edit=edit, limits=source.limits)
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
    edit = _edit(source, plan, order)
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
    return f"{writers.TWIN}-{name if plan.processed else PRISTINE}"


def _applied(source: Source, plan: Plan, order: Order) -> tuple[Volume, Volume]:
    """The forgery, and what it is to be compared with, on the same grid: the twin, or the source where that is it."""
    attack, pixels = plan.attack, order["pixels"]
    if attack is None or pixels is None:
        return source.volume, source.volume
    try:
        forged = attack.apply(source.volume, pixels["params"]).volume
        if plan.processed and isinstance(attack, Chain):
            return forged, attack.twin(source.volume, pixels["params"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AttackError(
            f"the parameters of {attack.name} do not fit: {error!r}", hint="give a record as it was written"
        ) from error
    region = writers.covered(source.volume, forged)
    return forged, replace(forged, voxels=source.volume.voxels[region])


def _edit(source: Source, plan: Plan, order: Order) -> writers.Edit | None:
    """What the codecs of the plan oblige the header to say, then all header attacks, one after the other."""
    used = writers.lossy.methods(order) if source.series.format == "dicom" else []
    if not plan.headers and not used:
        return None

    def edit(datasets: Sequence[Dataset]) -> list[Dataset]:
        forged = list(datasets)
        writers.lossy.declare(forged, used)
        for attack, step in zip(plan.headers, order["headers"] if plan.headers else (), strict=True):
            forged = attack.apply(forged, step["params"])
        return forged

    return edit
