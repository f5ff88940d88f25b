"""A general forensic network on crops of native pixels, taught by the masks of what was changed.

Half of a batch lies round changed pixels. Of the other half, one part is the same places in authentic series of the
same patients, so that no anatomy tells the classes apart, and the other any place of an authentic slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from tamperscope.datasets.cases import Group
from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.outcomes import CHANGED_VOXELS
from tamperscope.evaluate.systems.forensic_net import GRAIN, INPUT, LEAST, NETWORK, OUTPUT, ForensicMaps
from tamperscope.models.forensic_net import STRIDE, ForensicNet, forensic_net
from tamperscope.records import FloatArray, MaskArray
from tamperscope.train import export
from tamperscope.train.classifier import Classifier, mixed, seeded
from tamperscope.train.measures import measured
from tamperscope.train.native import Part, Plane, Spec, altered, anywhere, crop, turned
from tamperscope.train.picture_cache import AUTHENTIC, FORGED
from tamperscope.train.recipe import Recipe
from tamperscope.train.systems.native_student import PARTS, NativeStudent, read
from tamperscope.train.systems.student import LOOK_SEED, Lesson, Model

CHANGED_SHARE = 0.25
"""Changed pixels among the 16 of a cell of the map that make it forged: edits leave some pixels as they were."""
FORGED_WEIGHT = 4.0
"""Of forged cells in the loss: they are few, a tenth of a batch."""
TWINS = 0.5
"""Share of authentic crops that lie where a forgery lies in another series of the patient."""


class ForensicStudent(NativeStudent):
    """See `student.Student`."""

    def __init__(
        self, recipe: Recipe, taught: Part, held: Part, groups: Sequence[Group] = (), device: str = "cpu"
    ) -> None:
        super().__init__(recipe, taught, held, groups)
        side = recipe.input.side
        if side % GRAIN:
            raise UsageError(f"side = {side}", hint=f"crops have {LEAST} pixels or more, in steps of {GRAIN}")
        self.crops, held_crops = (Crops(part, name, side) for name, part in zip(PARTS, (taught, held), strict=True))
        self.held_crops = held_crops.draw(np.random.default_rng(LOOK_SEED), recipe.train.validate)
        self.shown = len(self.held_crops[0])
        self.classifier: Classifier = Classifier(build(recipe), self._loss, self._look, recipe.train, device)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> ForensicStudent:
        """Reads the slices."""
        taught, held = read(lesson, Spec(recipe.input.window_hu, recipe.input.most))
        return cls(recipe, taught, held, lesson.held, lesson.device)

    def model(self) -> Model:
        """See `student.Student`."""
        data, difference = exported(self.classifier.best, self.held_crops[0][:4])
        system = ForensicMaps(self.recipe.input.window_hu, Networks({NETWORK: data}))
        return Model(system, {"difference_to_torch": difference})

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        values, changed = self.crops.draw(rng, self.recipe.train.batch)
        turns = [turned((one, mask), rng) for one, mask in zip(values, changed, strict=True)]
        seen, masks = (np.stack(each) for each in zip(*turns, strict=True))
        where, verdict = self._forward(net, seen)
        cells = target(torch.from_numpy(masks.astype(np.float32))).to(where.device)
        truths = torch.from_numpy(masks.any(axis=(1, 2, 3)).astype(np.float32))[:, None].to(where.device)
        weight = torch.tensor(FORGED_WEIGHT, device=where.device)
        places = binary_cross_entropy_with_logits(where, cells, pos_weight=weight)
        return places + binary_cross_entropy_with_logits(verdict, truths)

    def _look(self, net: nn.Module) -> float:
        """By the highest value of the map, as slices are judged, on crops that stay the same."""
        values, changed = self.held_crops
        found: list[float] = []
        for first in range(0, len(values), self.recipe.train.batch):
            where, _ = self._forward(net, values[first : first + self.recipe.train.batch])
            found += where.amax((1, 2, 3)).tolist()
        scores, truths = np.array(found), changed.any(axis=(1, 2, 3))
        return measured(self.recipe.train.measure, scores[truths].tolist(), scores[~truths].tolist())

    def _forward(self, net: nn.Module, values: FloatArray) -> tuple[Tensor, Tensor]:
        device = self.classifier.device
        with mixed(device):
            where, verdict = net(torch.from_numpy(values).to(device))
        return where.float(), verdict.float()


class Crops:
    """Draws crops of a part, every other one round changed pixels.

    Raises:
        InputError: the part holds no slice that is known to be forged, or none that is known to be authentic.
    """

    def __init__(self, part: Part, name: str, side: int) -> None:
        self.side = side
        self._forged, self._authentic = (part.of(label) for label in (FORGED, AUTHENTIC))
        for what, found in (("forged", self._forged), ("authentic", self._authentic)):
            if not found:
                hint = f"give series with masks: a slice is forged from {CHANGED_VOXELS} changed voxels on"
                raise InputError(f"the part {name} holds no {what} slice", hint=hint)
        self._twins = defaultdict[object, list[Plane]](list)
        for series in part.series:
            for plane in () if series.forged else series.planes:
                self._twins[plane.key].append(plane)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[FloatArray, MaskArray]:
        """Values float32 of 0 to 1 and what was changed, both (count, 1, side, side)."""
        made = [self._forged_one(rng) if number % 2 else self._authentic_one(rng) for number in range(count)]
        values, changed = (np.stack(each)[:, None] for each in zip(*made, strict=True))
        return values, changed

    def _forged_one(self, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        plane, centre = self._place(rng)
        return crop(plane, centre, self.side)

    def _authentic_one(self, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        if rng.random() < TWINS:
            forged, centre = self._place(rng)
            twins = self._twins.get(forged.key, [])
            if twins:
                return crop(twins[rng.integers(len(twins))], centre, self.side)
        plane = self._authentic[rng.integers(len(self._authentic))]
        return crop(plane, anywhere(plane, rng), self.side)

    def _place(self, rng: np.random.Generator) -> tuple[Plane, tuple[int, int]]:
        """A forged slice and a pixel near one that was changed: at most a quarter of the side off, so it is in."""
        plane = self._forged[rng.integers(len(self._forged))]
        row, column = altered(plane, rng)
        off = rng.integers(-(self.side // 4), self.side // 4 + 1, 2)
        return plane, (row + int(off[0]), column + int(off[1]))


def target(changed: Tensor) -> Tensor:
    """What was changed (N, 1, S, S), 0 or 1, on the grid of the map (N, 1, S / 4, S / 4)."""
    return (avg_pool2d(changed, STRIDE) >= CHANGED_SHARE).float()


def build(recipe: Recipe) -> ForensicNet:
    """The network of a recipe, its first weights drawn by the recipe's seed."""
    with seeded(recipe.train.seed):
        return forensic_net(width=recipe.net.width, constrained=recipe.net.constrained)


class MapOnly(nn.Module):
    """The map of a forensic network alone: (N, 1, H, W) to (N, 1, H / 4, W / 4)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        where: Tensor = self.net(pictures)[0]
        return where


def exported(net: nn.Module, values: FloatArray) -> tuple[bytes, float]:
    """The map as ONNX with free height and width, and how far it is from torch: see `export.checked`.

    Tried on crops (N, 1, S, S) of the part calibrate, and on a picture of another shape.
    """
    chance = torch.Generator().manual_seed(0)
    example, other = (torch.rand(1, 1, *shape, generator=chance) for shape in ((64, 96), (80, LEAST)))
    rows, columns = (torch.export.Dim(name, min=LEAST // GRAIN, max=512) for name in ("rows", "columns"))
    free = {2: GRAIN * rows, 3: GRAIN * columns}
    samples = [{INPUT: one[None]} for one in values] + [{INPUT: other.numpy()}]
    return export.checked(MapOnly(net), NETWORK, {INPUT: example}, OUTPUT, samples, (free,))
