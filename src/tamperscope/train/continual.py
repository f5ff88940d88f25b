"""Learning on: an earlier training goes on with new forgeries, and must not forget the old ones.

Rehearsal: part of every batch comes from what was learned before (Robins, Catastrophic forgetting, rehearsal and
pseudorehearsal, Connection Science 7, 1995). Then old and new weights are held against each other on the old part
calibrate, group by group, and the new ones are refused where a group lost too much.

old run ─ best weights ─▶ fit on old and new ─▶ before and after of each old group ─▶ model.json, or an error
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tamperscope.datasets import leaks, table
from tamperscope.datasets.manifest import Entry, Tick, digested, file_digest, full_digest
from tamperscope.errors import InputError, TrainingError, UsageError, WeightsError
from tamperscope.evaluate.baseline import MODEL, BaselineDetector
from tamperscope.evaluate.intervals import paired_bootstrap
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.summary import FEWEST
from tamperscope.evaluate.systems import Pictures, System
from tamperscope.records import JSON, FloatArray
from tamperscope.report.files import save
from tamperscope.train import baseline, slices, workers
from tamperscope.train.augment import Augmentation
from tamperscope.train.baseline import BEST, Job, Say, quiet
from tamperscope.train.measures import measured
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, Shown, Slices
from tamperscope.train.recipe import Recipe, recorded
from tamperscope.train.slices import Batches
from tamperscope.train.systems import STUDENTS
from tamperscope.train.systems.pictures import PictureStudent, spec_of
from tamperscope.train.systems.student import sample

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
    """Of each batch, from the old manifest."""
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


class Rehearsal(Batches):
    """Batches of which a share is drawn from what was learned before, and the rest from what is new."""

    def __init__(self, old: Slices, new: Slices, augmentation: Augmentation, share: float) -> None:
        self.old, self.new, self.share = Batches(old, augmentation), Batches(new, augmentation), share

    def draw(self, rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
        """See `Batches`; both shares hold as many forged as authentic slices, the odd one apart."""
        known = round(self.share * count)
        parts = [each.draw(rng, some) for each, some in ((self.old, known), (self.new, count - known)) if some]
        pictures, labels = zip(*parts, strict=True)
        return np.concatenate(pictures), np.concatenate(labels)


class Continued(PictureStudent):
    """A classifier of pictures that starts from earlier weights, and is looked at on old and new series alike."""

    def __init__(
        self,
        recipe: Recipe,
        old: tuple[Slices, Slices],
        new: tuple[Slices, Slices],
        weights: Mapping[str, Any],
        share: float,
        device: str = "cpu",
    ) -> None:
        taught, held = (Slices((*each.series, *other.series)) for each, other in zip(old, new, strict=True))
        super().__init__(recipe, taught, held, device)
        self.batches = Rehearsal(old[0], new[0], recipe.augment, share)
        self._border = len(old[1].series)
        self._sides = [self._places(known) for known in (True, False)]
        try:
            self.classifier.net.load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(
                f"the earlier weights are of another network than their recipe: {error}", hint="train it again"
            ) from error
        self.classifier.look(0)  # the earlier weights stay, if none do better

    def _places(self, known: bool) -> dict[int, list[tuple[int, int]]]:
        half = self.recipe.train.validate // 2
        every = {label: self.held.of(label) for label in (AUTHENTIC, FORGED)}
        return {
            label: sample([one for one in found if (one[0] < self._border) == known], half, label)
            for label, found in every.items()
        }

    def _look(self, net: nn.Module) -> float:
        """The mean of the measure on the old and of that on the new series."""
        values = []
        for side in self._sides:
            forged, authentic = (self.logits(net, side[label]) for label in (FORGED, AUTHENTIC))
            values.append(measured(self.recipe.train.measure, forged, authentic))
        return float(np.mean(values))


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
        parts = [_parts(some, recipe, tick) for some in (known, fresh)]
        learner = Continued(recipe, parts[0], parts[1], weights, chosen.share, where)
        held, before = parts[0][1].series, cast("Pictures", detector.system)

        def judge(system: System) -> dict[str, JSON]:
            rows = compared(held, before, cast("Pictures", system))
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
    if STUDENTS[recipe.system] != PictureStudent.of:
        raise UsageError(
            f"a {recipe.system} does not learn on",
            hint="networks that see slices as pictures do; train this one again on a manifest of old and new",
        )
    return replace(recipe, train=replace(recipe.train, rate=SLOWER * recipe.train.rate))


def compared(held: Sequence[Shown], before: Pictures, after: Pictures) -> list[Compared]:
    """Old and new weights on every group of the old part calibrate that is large enough, the greatest loss first.

    As in `summary.groups`: the forgeries of a generator are held against all authentic series, those of a scanner, a
    kernel and so on against the authentic ones of the same.

    Raises:
        InputError: none is large enough.
    """
    scores = [np.array([max(one.logits(each.pictures)) for each in held]) for one in (before, after)]
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


def _groups(held: Sequence[Shown], forged: np.ndarray) -> list[tuple[tuple[str, str], np.ndarray]]:
    """Which series each group holds; that of a generator all authentic ones too."""
    found = [((ALL, "series"), np.ones(len(held), bool))]
    for key in dict.fromkeys(key for each in held for key in each.groups):
        values = np.array([each.groups.get(key, "") for each in held])
        for value in sorted(set(values[forged])):
            inside = values == value
            found.append(((key, str(value)), inside | ~forged if key == "generator" else inside))
    return found


def _parts(manifests: Sequence[Sequence[Entry]], recipe: Recipe, tick: Tick | None) -> tuple[Slices, Slices]:
    """The parts train and calibrate; a series that two manifests list is read once."""
    spec, found = spec_of(recipe), []
    for part in ("train", "calibrate"):
        groups = {
            tuple(entry.path for entry in group): group
            for entries in manifests
            for group in slices.grouped(entries, part)
        }
        found.append(slices.load(list(groups.values()), part, spec, tick))
    return found[0], found[1]


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
