"""Windows, map, texture of the map, support vectors (Zhang et al., PLOS ONE 2024); see `evaluate.systems.cascade`.

The first stage learns from windows round changed voxels against those of the same place in the twin and of other places
in authentic slices, by binary cross-entropy. The second learns from its maps of slices of the same part, as published:
on those the first stage does better than it will on other patients, which the early end of its training only softens.
Not taken over: the variant that looks at two slices on either side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tamperscope import pictures
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Cascade, System
from tamperscope.evaluate.systems.cascade import INPUT, OUTPUT, SIDE, SLICES, WINDOWS, texture
from tamperscope.evaluate.systems.pictures import INPUT as SHOWN
from tamperscope.evaluate.systems.pictures import OUTPUT as LOGITS
from tamperscope.models.window_net import window_net
from tamperscope.pictures import Grey
from tamperscope.records import FloatArray
from tamperscope.train import classical, export, regions, slices
from tamperscope.train.classifier import Classifier, mixed, one_logit_each, seeded
from tamperscope.train.measures import measured
from tamperscope.train.options import Svm
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, Labels
from tamperscope.train.recipe import Recipe
from tamperscope.train.regions import Regions
from tamperscope.train.systems.student import Lesson, Model, judged, sample

COMPARED = 64
"""Windows, and slices, on which the files are held against torch and scikit-learn."""


@dataclass(frozen=True, slots=True, eq=False)
class Textured:
    """Some slices of a series, as the second stage sees them."""

    rows: FloatArray
    """(N, F); see `evaluate.systems.cascade.texture`."""
    labels: Labels
    """(N)."""


class CascadeStudent:
    """See `student.Student`. Its classifier is the first stage; `model` fits the second."""

    def __init__(self, recipe: Recipe, lesson: Lesson, taught: Regions, held: Regions) -> None:
        self.recipe, self.lesson, self.taught, self.held = recipe, lesson, taught, held
        net, half = recipe.net, recipe.train.validate // 2
        self._crops = {AUTHENTIC: taught.authentic, FORGED: taught.forged}
        self._seen = {
            AUTHENTIC: _some(held.authentic, half, AUTHENTIC),
            FORGED: _some(held.forged, half, FORGED),
        }
        with seeded(recipe.train.seed):
            made = window_net(
                net.width,
                dropout=net.dropout,
                channel_attention=net.channel_attention,
                spatial_attention=net.spatial_attention,
            )
        self.classifier: Classifier = Classifier(made, self._loss, self._look, recipe.train, lesson.device)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> CascadeStudent:
        """Cuts the windows of both parts."""
        cut = []
        for number, (groups, part) in enumerate(((lesson.taught, "train"), (lesson.held, "calibrate"))):
            rng = np.random.default_rng([recipe.train.seed, number])
            empty = Regions(SIDE, recipe.input.window_hu, recipe.net.windows)
            cut.append(regions.load(groups, part, empty, rng, lesson.tick, lesson.most))
        return cls(recipe, lesson, *cut)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`."""
        return {"train": self.taught.counts, "calibrate": self.held.counts}

    @property
    def nbytes(self) -> int:
        """See `student.Student`."""
        return SIDE**2 * sum(len(one.authentic) + len(one.forged) for one in (self.taught, self.held))

    @property
    def shown(self) -> int:
        """See `student.Student`."""
        return sum(len(crops) for crops in self._seen.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `student.Student`."""
        return tuple(sorted({*self.taught.modalities, *self.held.modalities}))

    def model(self) -> Model:
        """See `student.Student`; reads the part train again, for the maps."""
        example = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        seen = [{SHOWN: pictures.unit(np.stack(crops[:COMPARED]))} for crops in self._seen.values()]
        free = {0: torch.export.Dim("windows", min=1, max=4096)}
        first, to_torch = export.checked(self.classifier.best, WINDOWS, {SHOWN: example}, LOGITS, seen, (free,))
        chosen = self.recipe.input
        look = Cascade(chosen.window_hu, chosen.stride, chosen.levels, Networks({WINDOWS: first}))
        rows, labels = self._textures(look)
        net = Svm(self.recipe.net.most, "rbf", self.recipe.net.penalty, self.recipe.net.components)
        made = classical.fitted(net, rows, labels, self.recipe.train.seed)
        second, to_sklearn = classical.exported(made, SLICES, INPUT, OUTPUT, rows.shape[1:], rows[:COMPARED])
        networks = Networks({WINDOWS: first, SLICES: second})
        facts = {"difference_to_torch": to_torch, "difference_to_scikit_learn": to_sklearn, "bytes": len(second)}
        facts |= {"second_stage_slices": len(rows)}
        return Model(Cascade(chosen.window_hu, chosen.stride, chosen.levels, networks), facts)

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`."""
        return judged(self.lesson.held, self.modalities, system)

    def _textures(self, look: Cascade) -> tuple[FloatArray, Labels]:
        """What the second stage learns from: rows (N, F) and labels (N)."""
        rng, net = np.random.default_rng([self.recipe.train.seed, 2]), self.recipe.net

        def made(case: Case) -> Textured:
            labels = slices.labels(case)
            every = [np.flatnonzero(labels == label) for label in (AUTHENTIC, FORGED)]
            kept = {int(k) for one in every for k in rng.permutation(one)[: net.slices]}
            planes = [(k, plane) for k, plane in enumerate(pictures.planes(case.volume)) if k in kept]
            rows = [texture(look.coarse(plane, case.volume.modality), look.levels) for _, plane in planes]
            length = 2 * look.levels * (look.levels + 1)
            return Textured(np.array(rows, np.float32).reshape(-1, length), labels[[k for k, _ in planes]])

        found = slices.read(self.lesson.taught, "train", made, self.lesson.tick, self.lesson.most)
        labels = np.concatenate([one.labels for one in found])
        half = net.most // 2
        kept = np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == one))[:half] for one in (0, 1)]))
        return np.concatenate([one.rows for one in found])[kept], labels[kept]

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        truths = rng.permutation(np.arange(self.recipe.train.batch) % 2)
        chosen = [self._crops[label][rng.integers(len(self._crops[label]))] for label in truths.tolist()]
        logits = self._forward(net, chosen)
        return binary_cross_entropy_with_logits(logits, torch.from_numpy(truths).float()[:, None].to(logits.device))

    def _look(self, net: nn.Module) -> float:
        found = []
        for label in (FORGED, AUTHENTIC):
            crops, batch = self._seen[label], self.recipe.train.batch
            parts = [crops[first : first + batch] for first in range(0, len(crops), batch)]
            found.append([logit for part in parts for logit in self._forward(net, part).flatten().tolist()])
        return measured(self.recipe.train.measure, *found)

    def _forward(self, net: nn.Module, crops: list[Grey]) -> Tensor:
        device = self.classifier.device
        with mixed(device):
            logits: Tensor = net(torch.from_numpy(pictures.unit(np.stack(crops))).to(device))
        return one_logit_each(logits, len(crops))


def _some(crops: list[Grey], most: int, label: int) -> list[Grey]:
    """At most so many windows, always the same ones."""
    return [crops[number] for number, _ in sample([(number, 0) for number in range(len(crops))], most, label)]
