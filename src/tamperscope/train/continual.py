"""Learning on: an earlier training goes on with new forgeries, and must not forget the old ones.

Rehearsal: a share of the batches comes from what was learned before (Robins, Catastrophic forgetting, rehearsal and
pseudorehearsal, Connection Science 7, 1995). Then old and new weights are held against each other on the old part
calibrate, group by group, and the new ones are refused where a group lost too much.

old run ─ best weights ─▶ fit on old and new ─▶ before and after of each old group ─▶ model.json, or an error
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tamperscope.datasets import cases, leaks, table
from tamperscope.datasets.cases import Group
from tamperscope.datasets.manifest import Entry, Tick, digested, file_digest, full_digest
from tamperscope.errors import InputError, TrainingError, UsageError, WeightsError
from tamperscope.evaluate.baseline import MODEL, BaselineDetector
from tamperscope.evaluate.intervals import paired_bootstrap
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.summary import FEWEST
from tamperscope.evaluate.systems import System
from tamperscope.records import JSON
from tamperscope.report.files import save
from tamperscope.train import baseline, slices, workers
from tamperscope.train.baseline import BEST, Job, Say, quiet
from tamperscope.train.classifier import Classifier
from tamperscope.train.options import SYSTEMS
from tamperscope.train.recipe import Recipe, recorded
from tamperscope.train.systems import Lesson, Model, Student, student

SLOWER = 0.1
"""The rate of the recipe is taken times this: weights that are good already are moved with care."""
RESAMPLES = 500
COMPARED = "compared.json"
"""Every old group before and after; also where the new weights are refused."""
ALL = "all"
"""Every series of the old manifest, as a group."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to learn on."""

    share: float = 0.5
    """Of the batches, from the old manifest."""
    margin: float = 0.02
    """AUROC that an old group may lose."""


@dataclass(frozen=True, slots=True)
class Compared:
    """AUROC of the old and of the new weights on the series of one old group."""

    group: str
    value: str
    forged: int
    authentic: int
    before: float
    after: float
    loss_interval: tuple[float, float]
    """95 % of the loss, patients drawn; NaN with one patient."""

    @property
    def loss(self) -> float:
        """What was forgotten."""
        return self.before - self.after

    def to_json(self) -> dict[str, JSON]:
        """For records."""
        low, high = (round(one, 4) if math.isfinite(one) else None for one in self.loss_interval)
        return {
            "group": self.group,
            "value": self.value,
            "forged": self.forged,
            "authentic": self.authentic,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "loss_interval": [low, high],
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """An old series, as the old and as the new weights see it."""

    patient: str
    forged: bool
    groups: Mapping[str, str]
    """See `cases.Case`."""
    before: float
    after: float


class Continued:
    """Two students of one system, of old and of new series, that share a network. See `student.Student`.

    Each step draws its batch from one of them, ``share`` of the steps from the old one; a look is the mean of both.
    """

    def __init__(self, old: Student, new: Student, weights: Mapping[str, Any], share: float) -> None:
        self.old, self.new = old, new
        first, second = (_learner(one) for one in (old, new))
        try:
            first.net.load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(
                f"the earlier weights are of another network than their recipe: {error}", hint="train it again"
            ) from error

        def loss(net: nn.Module, rng: np.random.Generator) -> Tensor:
            return (first if rng.random() < share else second).loss(net, rng)

        def look(net: nn.Module) -> float:
            return float(np.mean([first.judge(net), second.judge(net)]))

        self.classifier = Classifier(first.net, loss, look, first.settings, first.device.type, measure=first.measure)
        self.classifier.look(0)  # the earlier weights stay, if none do better

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`; of both together."""
        found = {part: dict(each) for part, each in self.old.counts.items()}
        for part, each in self.new.counts.items():
            found[part] = {key: found.get(part, {}).get(key, 0) + count for key, count in each.items()}
        return found

    @property
    def nbytes(self) -> int:
        """See `student.Student`."""
        return self.old.nbytes + self.new.nbytes

    @property
    def shown(self) -> int:
        """See `student.Student`."""
        return self.old.shown + self.new.shown

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `student.Student`."""
        return tuple(sorted({*self.old.modalities, *self.new.modalities}))

    def model(self) -> Model:
        """See `student.Student`."""
        _learner(self.old).best.load_state_dict(self.classifier.best.state_dict())
        return self.old.model()

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`; of both together."""
        (authentic, forged), (others, fresh) = self.old.scores(system), self.new.scores(system)
        return authentic + others, forged + fresh


def _learner(one: Student) -> Classifier:
    if one.classifier is None:
        raise UsageError("a system that is fitted at once does not learn on", hint="train it again on old and new")
    return one.classifier


def learn_on(
    folder: Path,
    old: Sequence[Path],
    new: Path,
    out: Path,
    plan: Plan | None = None,
    *,
    allow_leaks: bool = False,
    device: str | None = None,
    tensorboard: bool = False,
    say: Say = quiet,
    tick: Tick | None = None,
) -> Path:
    """Fine-tune an earlier training on a new manifest; the same call goes on with an interrupted run.

    Args:
        folder: run folder of the earlier training, with its recipe and its best weights.
        old: the manifest that it was trained on, or those, if it has learned on before.
        new: manifest with the new forgeries, in parts train and calibrate.
        out: folder of this run.
        plan: rehearsal and margin.
        allow_leaks: see `baseline.train`; so are the others.
        device: "cpu" or "cuda".
        tensorboard: keep the record for TensorBoard too.
        say: told a line at each checkpoint.
        tick: told of progress.

    Returns:
        The ``model.json``, which holds every old group before and after.

    Raises:
        UsageError: a system that cannot learn on, or manifests that it was not trained on.
        TrainingError: an old group lost more than the margin: no model is written.
        WeightsError: the earlier weights are missing or damaged.
        InputError: the manifests leak, or no old group is large enough to be compared.
    """
    chosen, where = plan or Plan(), device or baseline.default_device()
    detector = BaselineDetector(folder)
    recipe = recipe_of(detector)
    weights = _weights(folder, detector)
    baseline.writable(out)
    with workers.joined(where) as crew:
        known, fresh = ([digested(table.read(path).entries, tick) for path in paths] for paths in (old, [new]))
        _same_manifest(known, detector)
        every = [entry for entries in (*known, *fresh) for entry in entries]
        leaks.check(every, allow_leaks=allow_leaks, pixels=crew.leads, tick=tick)
        job = Job(recipe, out, full_digest(every), where, crew, tensorboard, say if crew.leads else quiet, tick)
        claim = baseline.claimed(job, before=detector.baseline.sha256, rehearsal=chosen.share)
        lessons = [_lesson(some, where, tick) for some in (known, fresh)]
        old_one, new_one = (student(recipe, one) for one in lessons)
        learner = Continued(old_one, new_one, weights, chosen.share)

        def judge(system: System) -> dict[str, JSON]:
            rows = compared(list(_seen(lessons[0].held, detector.baseline.modalities, detector.system, system, tick)))
            save(out / COMPARED, (json.dumps([row.to_json() for row in rows], indent=2) + "\n").encode())
            job.say(f"{len(rows)} old groups compared, those below {FEWEST} forged or authentic series are not")
            refuse(rows, chosen.margin)
            return {
                "learned_on": {
                    "from": detector.baseline.sha256,
                    "rehearsal": chosen.share,
                    "margin": chosen.margin,
                    "old_groups": [row.to_json() for row in rows],
                    "not_judged_below": FEWEST,
                }
            }

        return baseline.concluded(learner, job, claim, judge)


def recipe_of(detector: BaselineDetector) -> Recipe:
    """The recipe of an earlier training, slower.

    Raises:
        UsageError: its system does not learn on, or this version does not know it.
    """
    said = detector.baseline.training.get("recipe")
    if not isinstance(said, dict):
        raise UsageError(f"{detector.folder} does not say its recipe", hint="train it again with this version")
    recipe = recorded(said, f"the recipe in {detector.folder}")
    if not SYSTEMS[recipe.system].learns_on:
        raise UsageError(
            f"a {recipe.system} does not learn on: all or a part of it is fitted at once",
            hint="train it again on a manifest of old and new",
        )
    return replace(recipe, train=replace(recipe.train, rate=SLOWER * recipe.train.rate))


def compared(held: Sequence[Seen]) -> list[Compared]:
    """Old and new weights on every group of the old part calibrate that is large enough, the greatest loss first.

    As in `summary.groups`: the forgeries of a generator are held against all authentic series, those of a scanner, a
    kernel and so on against the authentic ones of the same.

    Raises:
        InputError: none is large enough.
    """
    scores = [np.array([one.before for one in held]), np.array([one.after for one in held])]
    forged = np.array([each.forged for each in held])
    patients = [each.patient for each in held]
    rows = [_row(name, inside, forged, patients, scores) for name, inside in _groups(held, forged)]
    found = [row for row in rows if min(row.forged, row.authentic) >= FEWEST]
    if not found:
        raise InputError(
            f"the old part calibrate has {int(forged.sum())} forged and {int((~forged).sum())} authentic series: "
            "too few to see what was forgotten",
            hint=f"give an old manifest with {FEWEST} of each or more",
        )
    return sorted(found, key=lambda row: -row.loss)


def refuse(rows: Sequence[Compared], margin: float) -> None:
    """That no group lost more than the margin.

    Raises:
        TrainingError: one did; the message names the worst.
    """
    lost = [row for row in rows if row.loss > margin]
    if not lost:
        return
    row = max(lost, key=lambda one: one.loss)
    low, high = row.loss_interval
    noise = "" if math.isnan(low) else f", 95 % of patients' draws {low:.3f} to {high:.3f}"
    raise TrainingError(
        f"the new weights are refused: on {row.group} {row.value} AUROC falls from {row.before:.3f} to {row.after:.3f}"
        f"{noise} ({row.forged} forged, {row.authentic} authentic series), and {margin:g} is the margin; "
        f"{len(lost)} of {len(rows)} old groups lost more",
        hint="rehearse more (--rehearse), add more new series, or state a wider --margin; no model was written",
    )


def _row(
    name: tuple[str, str],
    inside: np.ndarray,
    forged: np.ndarray,
    patients: Sequence[str],
    scores: Sequence[np.ndarray],
) -> Compared:
    places = np.flatnonzero(inside)

    def area(which: int) -> Any:
        def of(rows: np.ndarray) -> float:
            at = places[rows]
            return auroc(scores[which][at][forged[at]], scores[which][at][~forged[at]])

        return of

    whose = [patients[place] for place in places.tolist()]
    gap = paired_bootstrap(area(0), area(1), whose, np.random.default_rng(0), RESAMPLES)
    rows = np.arange(places.size)
    count = int(forged[places].sum())
    return Compared(*name, count, int(places.size) - count, area(0)(rows), area(1)(rows), (gap.low, gap.high))


def _groups(held: Sequence[Seen], forged: np.ndarray) -> list[tuple[tuple[str, str], np.ndarray]]:
    """Which series each group holds; that of a generator all authentic ones too."""
    found = [((ALL, "series"), np.ones(len(held), bool))]
    for key in dict.fromkeys(key for each in held for key in each.groups):
        values = np.array([each.groups.get(key, "") for each in held])
        for value in sorted(set(values[forged])):
            inside = values == value
            found.append(((key, str(value)), inside | ~forged if key == "generator" else inside))
    return found


def _lesson(manifests: Sequence[Sequence[Entry]], device: str, tick: Tick | None) -> Lesson:
    """The parts train and calibrate; a series that two manifests list is read once."""
    parts = []
    for part in ("train", "calibrate"):
        groups = {
            tuple(entry.path for entry in group): group
            for entries in manifests
            for group in slices.grouped(entries, part)
        }
        parts.append(list(groups.values()))
    return Lesson(parts[0], parts[1], device, tick)


def _seen(
    groups: Sequence[Group], modalities: Sequence[str], before: System, after: System, tick: Tick | None
) -> Iterator[Seen]:
    """Each old series that the earlier model is for, judged by both."""
    for number, group in enumerate(groups, start=1):
        case = cases.opened(group)
        if case.volume.modality in modalities:
            old, new = (system.answer(case.volume).highest for system in (before, after))
            yield Seen(case.patient, case.forged, case.groups, old, new)
        if tick is not None:
            tick("comparing", number, len(groups))


def _same_manifest(known: Sequence[Sequence[Entry]], detector: BaselineDetector) -> None:
    """Its part calibrate has to be one that the old weights never learned from."""
    if full_digest(entry for entries in known for entry in entries) != detector.baseline.manifest:
        raise UsageError(
            f"{detector.folder} was trained on another manifest than --data",
            hint="give the one that it was trained on; if it has learned on before, --data OLD --data ADDED",
        )


def _weights(folder: Path, detector: BaselineDetector) -> Mapping[str, Any]:
    path, hint = folder / BEST, "give the folder of a whole run"
    if not path.is_file():
        raise WeightsError(f"{folder} has no {BEST} to go on from", hint=hint)
    if file_digest(path) != detector.baseline.training.get("best_sha256"):
        raise WeightsError(f"{path} is not what {folder / MODEL} promises", hint=hint)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path}: {error}", hint=hint) from error
