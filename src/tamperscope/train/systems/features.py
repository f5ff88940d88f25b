"""A network on 24 numbers of a slice's texture (Alheeti et al., CDMA 2022); see `models.feature_net`.

The numbers are taken once, when the series are read; their means and deviations in the part train become part of the
network's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tamperscope.datasets.cases import Case
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Features, System
from tamperscope.evaluate.systems.features import INPUT, NETWORK, OUTPUT, described
from tamperscope.models.feature_net import FEATURES, feature_net
from tamperscope.records import FloatArray
from tamperscope.train import export, slices
from tamperscope.train.classifier import Classifier, one_logit_each, seeded
from tamperscope.train.measures import measured
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE, Labels
from tamperscope.train.recipe import Recipe
from tamperscope.train.systems.student import Lesson, Model, sample

COMPARED = 64
"""Slices on which the file is held against torch."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """One series as numbers."""

    forged: bool
    modality: str
    features: FloatArray
    """(D, 24)."""
    labels: Labels
    """(D); see `slices.labels`."""


class FeatureStudent:
    """See `student.Student`."""

    def __init__(
        self, recipe: Recipe, taught: Sequence[Described], held: Sequence[Described], device: str = "cpu"
    ) -> None:
        self.recipe, self.taught, self.held = recipe, taught, held
        self._rows = {label: _rows(taught, label) for label in (AUTHENTIC, FORGED)}
        half = recipe.train.validate // 2
        self._seen = {label: _some(_rows(held, label), half, label) for label in (AUTHENTIC, FORGED)}
        with seeded(recipe.train.seed):
            net = feature_net(hidden=recipe.net.hidden, dropout=recipe.net.dropout)
        net.fit(torch.from_numpy(np.concatenate([self._rows[AUTHENTIC], self._rows[FORGED]])))
        self.classifier: Classifier = Classifier(net, self._loss, self._look, recipe.train, device)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> FeatureStudent:
        """Reads the series and takes their numbers."""

        def made(case: Case) -> Described:
            features = described(case.volume, recipe.input.window_hu)
            return Described(case.forged, case.volume.modality, features, slices.labels(case))

        taught = slices.read(lesson.taught, "train", made, lesson.tick, lesson.most)
        held = slices.read(lesson.held, "calibrate", made, lesson.tick, lesson.most)
        return cls(recipe, taught, held, lesson.device)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`."""
        return {"train": _counts(self.taught), "calibrate": _counts(self.held)}

    @property
    def nbytes(self) -> int:
        """See `student.Student`."""
        return sum(one.features.nbytes for one in (*self.taught, *self.held))

    @property
    def shown(self) -> int:
        """See `student.Student`."""
        return sum(len(rows) for rows in self._seen.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `student.Student`."""
        return tuple(sorted({one.modality for one in (*self.taught, *self.held)}))

    def model(self) -> Model:
        """See `student.Student`."""
        example = torch.from_numpy(self._rows[AUTHENTIC][:1]).repeat(2, 1)
        seen = [{INPUT: rows[:COMPARED]} for rows in (*self._seen.values(), *self._rows.values())]
        free = {0: torch.export.Dim("slices", min=1, max=65536)}
        data, difference = export.checked(self.classifier.best, NETWORK, {INPUT: example}, OUTPUT, seen, (free,))
        system = Features(self.recipe.input.window_hu, Networks({NETWORK: data}))
        return Model(system, {"difference_to_torch": difference})

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`; the numbers are still in memory."""
        looks = cast("Features", system)
        found: tuple[list[float], list[float]] = [], []
        for one in self.held:
            found[one.forged].append(max(looks.logits(one.features)))
        return found

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        truths = rng.permutation(np.arange(self.recipe.train.batch) % 2)
        chosen = [self._rows[label][rng.integers(len(self._rows[label]))] for label in truths]
        logits = self._forward(net, np.stack(chosen))
        return binary_cross_entropy_with_logits(logits, torch.from_numpy(truths).float()[:, None].to(logits.device))

    def _look(self, net: nn.Module) -> float:
        authentic, forged = (self._forward(net, self._seen[label]).flatten().tolist() for label in (AUTHENTIC, FORGED))
        return measured(self.recipe.train.measure, forged, authentic)

    def _forward(self, net: nn.Module, features: FloatArray) -> Tensor:
        return one_logit_each(net(torch.from_numpy(features).to(self.classifier.device)), len(features))


def _rows(series: Sequence[Described], label: int) -> FloatArray:
    """The features (N, 24) of all slices of this label."""
    return np.concatenate([np.empty((0, FEATURES), np.float32), *(one.features[one.labels == label] for one in series)])


def _some(rows: FloatArray, most: int, label: int) -> FloatArray:
    """At most so many rows, always the same ones."""
    return rows[[number for number, _ in sample([(number, 0) for number in range(len(rows))], most, label)]]


def _counts(series: Sequence[Described]) -> dict[str, int]:
    forged = sum(one.forged for one in series)
    return {
        "authentic_series": len(series) - forged,
        "forged_series": forged,
        "authentic_slices": len(_rows(series, AUTHENTIC)),
        "forged_slices": len(_rows(series, FORGED)),
        "left_out_slices": len(_rows(series, UNSURE)),
    }
