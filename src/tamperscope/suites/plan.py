"""What a suite asks for, job by job; a job's name carries a digest of all that makes its result."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tamperscope import toml
from tamperscope.datasets import table
from tamperscope.datasets.manifest import Entry, digested, file_digest, full_digest
from tamperscope.errors import UsageError
from tamperscope.evaluate import leaderboard
from tamperscope.evaluate.baseline import MODEL
from tamperscope.evaluate.run import ROWS, selected
from tamperscope.suites.jobs import Job
from tamperscope.suites.suite import Data, Model, Suite
from tamperscope.train.options import OwnNet, PictureNet

HTML = "evaluation.html"
LEARNED = ("train", "calibrate")
"""Parts that a training looks at."""


@dataclass(frozen=True, slots=True)
class Split:
    """One table: what is judged of a data set, and the manifest that models are trained on for it."""

    data: Data
    left_out: str | None
    """The generator that is held out; None for the data set as it is."""
    judged: Path
    """A manifest of the suite, or a derived one."""
    train: Path | None
    cases: str
    """Digest of what is judged."""
    lessons: str
    """Digest of what is learned from."""

    @property
    def name(self) -> str:
        """As the table is called."""
        return self.data.name if self.left_out is None else f"{self.data.name} without {self.left_out}"


@dataclass(frozen=True, slots=True)
class Judging:
    """One model, of one seed, on one split."""

    job: Job
    split: Split
    model: Model
    seed: int | None
    share: bool = False
    """The job judges the whole data set, and this split takes the answers to the generator that is left out."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A training, none for a Card, and what is judged by it."""

    training: Job | None
    judgings: tuple[Judging, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of it, in order."""
        first = () if self.training is None else (self.training,)
        return tuple(dict.fromkeys((*first, *(one.job for one in self.judgings))))


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a suite asks for."""

    suite: Suite
    out: Path
    splits: tuple[Split, ...]
    chains: tuple[Chain, ...]
    derived: dict[Path, tuple[tuple[Entry, ...], Path]] = field(default_factory=dict)
    """Manifests to be written: their entries, and the folder of the images."""
    manifests: dict[Path, table.Manifest] = field(default_factory=dict)
    """Those of the suite, as they were read."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every job, trainings before what is judged by them."""
        return tuple(job for chain in self.chains for job in chain.jobs)


def plan(suite: Suite, out: Path, threads: int = 1) -> Plan:
    """What a suite asks for, job by job; nothing is written.

    Raises:
        UsageError: a part or a generator that is not there.
        InputError: a manifest cannot be used.
    """
    made = Plan(suite, out, (), ())
    splits = tuple(split for data in suite.data for split in _splits(data, made))
    chains: dict[str, Chain] = {}
    for split in splits:
        for model in suite.models:
            if model.is_for(split.data):
                for seed in model.seeds or (None,):
                    _add(chains, split, model, seed, out, threads)
    return replace(made, splits=splits, chains=tuple(chains.values()))


def _splits(data: Data, made: Plan) -> Iterator[Split]:
    """The data set as it is, and once more for every generator that is left out."""
    judged = _joined([_manifest(path, made) for path in data.manifests])
    every = selected(judged.entries, data.part)
    taught = None if data.train is None else _manifest(data.train, made)
    lessons = () if taught is None else taught.entries
    alone = len(data.manifests) == 1
    whole = data.manifests[0] if alone else _derived(data, judged, "joined", lambda _: True, made)
    yield Split(data, None, whole, data.train, full_digest(every), full_digest(learned(lessons)))
    known = sorted({entry.generator for entry in every} - {""})
    for name in data.leave_out:
        if name not in known:
            where = f"the data set {data.name}" if data.part is None else f"the part {data.part} of {data.name}"
            raise UsageError(f"{where} has no forgery by {name!r}", hint=f"there are {', '.join(known) or 'none'}")
        only = _derived(data, judged, f"only-{name}", partial(_only, name), made)
        rest = None if taught is None else _derived(data, taught, f"without-{name}", partial(_without, name), made)
        yield Split(
            data,
            name,
            only,
            rest,
            full_digest(entry for entry in every if _only(name, entry)),
            full_digest(entry for entry in learned(lessons) if _without(name, entry)),
        )


def _manifest(path: Path, made: Plan) -> table.Manifest:
    """A manifest with the digests that it states; files are read where it states none."""
    if path not in made.manifests:
        found = table.read(path)
        whole = all(entry.sha256 for entry in found.entries)
        made.manifests[path] = found if whole else replace(found, entries=digested(found.entries))
    return made.manifests[path]


def _joined(listed: Sequence[table.Manifest]) -> table.Manifest:
    """Several manifests as one, below the folder that holds the images of all."""
    if len(listed) == 1:
        return listed[0]
    entries = [
        replace(entry, path=entry.path.resolve(), mask=None if entry.mask is None else entry.mask.resolve())
        for one in listed
        for entry in one.entries
    ]
    return table.Manifest(tuple(entries), Path(os.path.commonpath([one.root.resolve() for one in listed])))


def _derived(data: Data, source: table.Manifest, name: str, kept: Callable[[Entry], bool], made: Plan) -> Path:
    path = made.out / "manifests" / f"{_slug(data.name)}-{_slug(name)}.csv"
    made.derived[path] = tuple(entry for entry in source.entries if kept(entry)), source.root
    return path


def _only(generator: str, entry: Entry) -> bool:
    return entry.label == "authentic" or entry.generator == generator


def _without(generator: str, entry: Entry) -> bool:
    return entry.label == "authentic" or entry.generator != generator


def learned(entries: Iterable[Entry]) -> list[Entry]:
    """Those that a training looks at."""
    return [entry for entry in entries if entry.part in LEARNED]


def _add(chains: dict[str, Chain], split: Split, model: Model, seed: int | None, out: Path, threads: int) -> None:
    """Put a judging behind its training, which may be there for another split already.

    Where that has not met the generator that is left out in the first place, the data set need not be judged again; nor
    need one that holds the same cases as another.
    """
    training = None if model.recipe is None else _training(split, model, int(seed or 0), out)
    key = model.name if training is None else training.name
    chain = chains.setdefault(key, Chain(training, ()))
    for one in chain.judgings:
        if (one.model, one.seed) == (model, seed) and one.split.data == split.data:
            shared = Judging(one.job, split, model, seed, share=True)
        elif (one.model, one.seed) == (model, seed) and _same(one.split, split):
            shared = Judging(one.job, split, model, seed, share=one.share)
        else:
            continue
        chains[key] = replace(chain, judgings=(*chain.judgings, shared))
        return
    job = _judging(split, model, seed, chain.training, out, threads)
    chains[key] = replace(chain, judgings=(*chain.judgings, Judging(job, split, model, seed)))


def _same(one: Split, other: Split) -> bool:
    """Whether the same is judged in both."""
    return (one.cases, one.data.part, one.left_out) == (other.cases, other.data.part, other.left_out)


def _judging(split: Split, model: Model, seed: int | None, training: Job | None, out: Path, threads: int) -> Job:
    made_by = training.name if training is not None else model.card and model.card.sha256
    label = model.name if seed is None else f"{model.name}-seed{seed}"
    name = f"{_slug(split.name)}-{_slug(label)}-{_digest(made_by, split.cases, split.data.part)}"
    weighed = model.called if training is None else str(training.folder)
    folder = out / "evaluations" / name
    words = ["evaluate", "--model", weighed, "--data", str(split.judged)]
    words += [] if split.data.part is None else ["--part", split.data.part]
    words += ["--out", str(folder), "--examples", "0", "--threads", str(threads)]
    return Job(name, folder, tuple(words), (ROWS, leaderboard.FIGURES, HTML))


def _training(split: Split, model: Model, seed: int, out: Path) -> Job:
    """The training of a recipe for a split; the same content gives the same name, wherever the files lie."""
    tree = toml.tree(toml.text(Path(str(model.path))), str(model.path), "")
    tree.pop("data", None)
    tree.get("train", {}).pop("seed", None)
    stem = f"{_slug(model.recipe.name if model.recipe else model.name)}-seed{seed}"
    name = f"{stem}-{_digest(tree, [file_digest(file) for file in _files(model)], seed, split.lessons)}"
    folder = out / "runs" / name
    words: tuple[str, ...] = ("train", str(model.path), "--data", str(split.train), "--seed", str(seed))
    # `run` has looked for leaks, once for all models.
    words = (*words, "--out", str(folder), "--cache", str(out / "pictures"), "--allow-leaks")
    return Job(name, folder, words, (MODEL,))


def _files(model: Model) -> list[Path]:
    """What a recipe names and does not hold: weights to start from, and the module of a network of one's own."""
    net = None if model.recipe is None else model.recipe.net
    named = [net.pretrained] if isinstance(net, PictureNet) and net.pretrained is not None else []
    if isinstance(net, OwnNet) and model.recipe is not None:
        module = f"{net.build.partition(':')[0].replace('.', '/')}.py"
        named = [folder / module for folder in (model.recipe.folder, Path.cwd())]
    return [file for file in named if file.is_file()]


def _digest(*words: Any) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:10]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"
