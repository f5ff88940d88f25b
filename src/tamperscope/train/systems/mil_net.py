"""Multiple instances: bags of native patches, of which only the label of the series is known.

Masks are not read. As published, the slices that a bag is drawn from lie round the stated slice of the forgery: a bag
without any of it would have a wrong label. Unlike published, those of authentic series lie round the same slices of the
same patients, and no position is told to the network: neither where a bag is from nor its anatomy gives it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tamperscope.datasets.cases import Group
from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.mil_net import BAGS, ENCODER, FEATURES, JUDGED, PATCHES, POOLED, Bags
from tamperscope.evaluate.systems.native import Grid
from tamperscope.models import mil_net
from tamperscope.models.mil_net import MilNet
from tamperscope.records import FloatArray
from tamperscope.train import export
from tamperscope.train.classifier import Classifier, mixed, one_logit_each, seeded
from tamperscope.train.measures import measured
from tamperscope.train.native import LEVELS, Native, Part, Plane, Spec, turned
from tamperscope.train.recipe import Recipe
from tamperscope.train.systems.native_student import PARTS, NativeStudent, read
from tamperscope.train.systems.student import LOOK_SEED, Lesson, Model, sample


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """Some patches of some slices of a series."""

    forged: bool
    patches: FloatArray
    """float32 (P, 1, patch, patch) of 0 to 1."""
    slices: tuple[int, ...]
    """How many of them are of the first slice, of the second, and so on."""


class MilStudent(NativeStudent):
    """See `student.Student`."""

    def __init__(
        self, recipe: Recipe, taught: Part, held: Part, groups: Sequence[Group] = (), device: str = "cpu"
    ) -> None:
        super().__init__(recipe, taught, held, groups)
        given = recipe.input
        self.grid = Grid(given.patch, given.stride)
        self.series = {forged: _labelled(taught, PARTS[0], forged) for forged in (False, True)}
        chance, half = np.random.default_rng(LOOK_SEED), recipe.train.validate // 2
        self.looked = [
            self.bag(series[number], chance)
            for forged in (False, True)
            for series in (_labelled(held, PARTS[1], forged),)
            for number, _ in sample([(n, 0) for n in range(len(series))], half, int(forged))
        ]
        self.shown = len(self.looked)
        self.classifier: Classifier = Classifier(build(recipe), self._loss, self._look, recipe.train, device)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> MilStudent:
        """Reads the slices, and no mask's content."""
        taught, held = read(lesson, Spec(recipe.input.window_hu, recipe.input.slices, spread=0.0, masks=False))
        return cls(recipe, taught, held, lesson.held, lesson.device)

    def model(self) -> Model:
        """See `student.Student`."""
        files, difference = exported(cast("MilNet", self.classifier.best), self.looked[-1].patches[:8])
        system = Bags(self.grid, self.recipe.input.window_hu, Networks(files))
        return Model(system, {"difference_to_torch": difference})

    def bag(self, series: Native, rng: np.random.Generator) -> Bag:
        """Some slices of a series, and some patches of each, as many as the recipe says or as there are."""
        given = self.recipe.input
        chosen = rng.permutation(len(series.planes))[: given.drawn]
        each = [self._patches(series.planes[k], given.patches // len(chosen), rng) for k in sorted(chosen.tolist())]
        return Bag(series.forged, np.concatenate(each), tuple(len(one) for one in each))

    def _patches(self, plane: Plane, most: int, rng: np.random.Generator) -> FloatArray:
        corners = self.grid.corners(plane.judged, plane.values.shape)
        some = [corners[number] for number in sorted(rng.permutation(len(corners))[:most].tolist())]
        return self.grid.cut(plane.values.astype(np.float32) * np.float32(1.0 / LEVELS), some)

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        bags = []
        for number in range(self.recipe.train.batch):
            series = self.series[bool(number % 2)]
            drawn = self.bag(series[int(rng.integers(len(series)))], rng)
            (patches,) = turned((drawn.patches,), rng)
            bags.append(Bag(drawn.forged, cast("FloatArray", np.ascontiguousarray(patches)), drawn.slices))
        logits = self._forward(net, bags)
        truths = torch.tensor([[float(bag.forged)] for bag in bags], device=logits.device)
        return binary_cross_entropy_with_logits(logits, truths)

    def _look(self, net: nn.Module) -> float:
        found: tuple[list[float], list[float]] = [], []
        for bag in self.looked:
            found[bag.forged].append(float(self._forward(net, [bag])))
        return measured(self.recipe.train.measure, found[True], found[False])

    def _forward(self, net: nn.Module, bags: Sequence[Bag]) -> Tensor:
        """Logits (N, 1). Only patches that exist are encoded."""
        device, number = self.classifier.device, self.recipe.input.drawn
        most = max(count for bag in bags for count in bag.slices)
        exists = torch.zeros(len(bags), number, most, dtype=torch.bool)
        for place, bag in enumerate(bags):
            for k, count in enumerate(bag.slices):
                exists[place, k, :count] = True
        there = exists.view(len(bags), -1).to(device)
        made = cast("MilNet", net)
        with mixed(device):
            encoded = made.encoder(torch.from_numpy(np.concatenate([bag.patches for bag in bags])).to(device))
            features = encoded.new_zeros(*there.shape, encoded.shape[1])
            features[there] = encoded
            logits, _ = made.pool(features, there)
        return one_logit_each(logits, len(bags))


def build(recipe: Recipe) -> MilNet:
    """The network of a recipe, its first weights drawn by the recipe's seed.

    Raises:
        UsageError: a width that it cannot have.
    """
    net = recipe.net
    if net.width % mil_net.GROUPS:
        raise UsageError(f"width = {net.width}", hint=f"width is a multiple of {mil_net.GROUPS}")
    with seeded(recipe.train.seed):
        return mil_net.mil_net(
            slices=recipe.input.drawn, width=net.width, features=net.features, hidden=net.hidden, dropout=net.dropout
        )


class Encoder(nn.Module):
    """Patches (M, 1, h, w) to their features and what asks for weight, (M, F + 1)."""

    def __init__(self, net: MilNet) -> None:
        super().__init__()
        self.encoder, self.attention = net.encoder, net.over_patches

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        features = self.encoder(patches)
        return torch.cat([features, self.attention.asked(features)[:, None]], dim=1)


class Judge(nn.Module):
    """Bags (M, F) to what asks for weight among slices and the logit, (M, 2)."""

    def __init__(self, net: MilNet) -> None:
        super().__init__()
        self.attention, self.head = cast("mil_net.GatedAttention", net.over_slices), net.head

    def forward(self, pooled: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self.attention.asked(pooled)[:, None], self.head(pooled)], dim=1)


def exported(net: MilNet, patches: FloatArray) -> tuple[dict[str, bytes], float]:
    """Both files, and how far they are from torch: see `export.checked`. Tried on patches of the part calibrate."""
    chance = torch.Generator().manual_seed(0)
    example = torch.rand(2, *patches.shape[1:], generator=chance)
    encoder, judge = Encoder(net).eval(), Judge(net).eval()
    free = ({0: torch.export.Dim("instances", min=1, max=65536)},)
    with torch.inference_mode():
        pooled = encoder(torch.from_numpy(patches))[:, :-1].numpy()
    made = (
        (encoder, ENCODER, PATCHES, FEATURES, example, patches),
        (judge, BAGS, POOLED, JUDGED, torch.from_numpy(np.concatenate([pooled, pooled])[:2]), pooled),
    )
    files, largest = {}, 0.0
    for part, name, given, answer, first, seen in made:
        samples = [{given: seen}, {given: seen[:1]}]
        files[name], difference = export.checked(part, name, {given: first}, answer, samples, free)
        largest = max(largest, difference)
    return files, largest


def _labelled(part: Part, name: str, forged: bool) -> list[Native]:
    """The series of this label.

    Raises:
        InputError: there are none.
    """
    found = [one for one in part.series if one.forged is forged]
    if not found:
        kind = "forged" if forged else "authentic"
        raise InputError(f"the part {name} holds no {kind} series", hint="give series of both kinds in every part")
    return found
