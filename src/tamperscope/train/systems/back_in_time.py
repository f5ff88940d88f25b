"""Back-in-Time Diffusion: a denoiser that has seen authentic crops only, and no forgery of any kind.

Forged series of the part train are not even opened. Those of the part calibrate are read in the end, for the curve that
makes a score a probability, as for every other system; they change neither the network nor the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tamperscope.datasets.cases import Group
from tamperscope.errors import InputError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import native
from tamperscope.evaluate.systems.back_in_time import INPUT, NETWORK, OUTPUT, Residuals
from tamperscope.models.back_in_time_net import BackInTimeNet, back_in_time_net, noised, residual
from tamperscope.records import FloatArray
from tamperscope.train import export
from tamperscope.train.classifier import Classifier, mixed, seeded
from tamperscope.train.native import Part, Plane, Spec, anywhere, crop, load, turned
from tamperscope.train.picture_cache import AUTHENTIC
from tamperscope.train.recipe import Recipe
from tamperscope.train.slices import labelled
from tamperscope.train.systems.native_student import PARTS, NativeStudent
from tamperscope.train.systems.student import LOOK_SEED, Lesson, Model

Steps = NDArray[np.int64]


class BackInTimeStudent(NativeStudent):
    """See `student.Student`. ``taught`` and ``held`` are authentic."""

    def __init__(
        self, recipe: Recipe, taught: Part, held: Part, groups: Sequence[Group] = (), device: str = "cpu"
    ) -> None:
        super().__init__(recipe, taught, held, groups)
        self.planes, held_planes = (_authentic(part, name) for name, part in zip(PARTS, (taught, held), strict=True))
        chance = np.random.default_rng(LOOK_SEED)
        self.looked = self._noisy(self._crops(held_planes, recipe.train.validate, chance), chance)
        self.shown = recipe.train.validate
        self.classifier: Classifier = Classifier(
            build(recipe), self._loss, self._look, recipe.train, device, measure="minus_noise_loss"
        )

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> BackInTimeStudent:
        """Reads the authentic series."""
        spec = Spec(recipe.input.window_hu, recipe.input.most, judged=native.lungs, masks=False)
        taught, held = (
            load(labelled(groups, "authentic"), part, spec, lesson.tick, lesson.most)
            for part, groups in zip(PARTS, (lesson.taught, lesson.held), strict=True)
        )
        return cls(recipe, taught, held, lesson.held, lesson.device)

    def model(self) -> Model:
        """See `student.Student`."""
        best, given = cast("BackInTimeNet", self.classifier.best), self.recipe.input
        data, difference = exported(best, self.recipe.net.t, self.looked[0][:4])
        return Model(
            Residuals(given.side, given.window_hu, Networks({NETWORK: data})), {"difference_to_torch": difference}
        )

    def _crops(self, planes: Sequence[Plane], count: int, rng: np.random.Generator) -> FloatArray:
        """Values float32 (count, 1, side, side) of 0 to 1 round any place where slices are looked at."""
        found = []
        for _ in range(count):
            plane = planes[int(rng.integers(len(planes)))]
            values, _ = crop(plane, anywhere(plane, rng), self.recipe.input.side)
            found.append(turned((values,), rng)[0])
        return np.stack(found)[:, None].astype(np.float32)

    def _noisy(self, crops: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, Steps]:
        """Crops, noise of their shape, and the steps (N) after which it is learned."""
        steps = rng.integers(0, self.recipe.net.learned, len(crops))
        return crops, rng.standard_normal(crops.shape, dtype=np.float32), steps

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        return self._missed(net, *self._noisy(self._crops(self.planes, self.recipe.train.batch, rng), rng))

    def _look(self, net: nn.Module) -> float:
        """Minus the loss on crops, noise and steps that stay the same."""
        (crops, noise, steps), size, losses = self.looked, self.recipe.train.batch, list[float]()
        for first in range(0, self.shown, size):
            some = slice(first, first + size)
            missed = self._missed(net, crops[some], noise[some], steps[some])
            losses += [float(missed)] * len(steps[some])
        return -float(np.mean(losses))

    def _missed(self, net: nn.Module, crops: FloatArray, noise: FloatArray, steps: Steps) -> Tensor:
        """Mean squared error of the predicted noise (Ho et al., NeurIPS 2020, equation 14)."""
        device, made = self.classifier.device, cast("BackInTimeNet", net)
        seen, wanted, times = (torch.from_numpy(one).to(device) for one in (crops, noise, steps))
        with mixed(device):
            found = made(noised(made, 2.0 * seen - 1.0, wanted, times), times)
        return mse_loss(found.float(), wanted)


def build(recipe: Recipe) -> BackInTimeNet:
    """The network of a recipe, its first weights drawn by the recipe's seed."""
    with seeded(recipe.train.seed):
        return back_in_time_net(width=recipe.net.width)


class StepBack(nn.Module):
    """Crops (N, 1, S, S) of 0 to 1 to what step ``t`` back changes in them, in multiples of the noise of that step."""

    def __init__(self, net: BackInTimeNet, t: int) -> None:
        super().__init__()
        self.net, self.t = net, t

    def forward(self, crops: Tensor) -> Tensor:
        """See the class."""
        return residual(self.net, 2.0 * crops - 1.0, self.t) / (1.0 - self.net.kept[self.t]).sqrt()


def exported(net: BackInTimeNet, t: int, crops: FloatArray) -> tuple[bytes, float]:
    """The step back as ONNX, and how far it is from torch on crops of the part calibrate: see `export.checked`."""
    example = torch.rand(2, *crops.shape[1:], generator=torch.Generator().manual_seed(0))
    free = {0: torch.export.Dim("count", min=1, max=4096)}
    samples = [{INPUT: crops}, {INPUT: crops[:1]}]
    return export.checked(StepBack(net, t), NETWORK, {INPUT: example}, OUTPUT, samples, (free,))


def _authentic(part: Part, name: str) -> list[Plane]:
    """The slices of a part.

    Raises:
        InputError: there are none, or some are not authentic.
    """
    found = part.of(AUTHENTIC)
    if not found or any(one.forged for one in part.series):
        raise InputError(
            f"the part {name} holds {len(found)} authentic slices and {sum(one.forged for one in part.series)} "
            "forged series",
            hint="this system learns from authentic series alone",
        )
    return found
