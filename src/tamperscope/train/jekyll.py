"""Training of the Jekyll-type translation, unpaired: healthy knees to diseased ones and back.

Mangaokar et al., Jekyll: Attacking Medical Image Diagnostics using Deep Generative Models, EuroS&P 2020: a
translation that a critic takes for a picture of the other class, a cycle that must give the picture back (Zhu et al.,
CycleGAN, ICCV 2017), and no change where the class is right already.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from tamperscope.attacks.jekyll import LEAST_CHANGE
from tamperscope.models.jekyll import CLASSES, SIDE, translator
from tamperscope.train.adversarial import Opponent, descend, pleasing
from tamperscope.train.knees import Knees
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

STEPS = 2500
"""About what twelve minutes on one core are enough for."""
GRADES: tuple[tuple[int, ...], ...] = ((0, 1), (3, 4))
"""Of Kellgren and Lawrence, for each class; 2 is left out."""
JUDGED = slice(48, 192)
"""Rows that the critic sees: all that can change, and a rim of what cannot."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a training."""

    width: int = 16
    batch: int = 4
    """Pictures of each class a step."""
    rate: float = 8e-4
    critic_rate: float = 5e-4
    steps: int = STEPS
    """Over which the rate falls."""
    average: float = 0.995
    cycle: float = 5.0
    """Weight of the mean absolute difference to the picture translated there and back."""
    identity: float = 2.0
    """Weight of the mean absolute change where the class is right already."""
    sparsity: float = 3.0
    """Weight of the mean absolute change, which keeps it where it tells most."""
    patience: int = 700
    """Steps in which the critic alone learns to tell the classes: against one that cannot, the best is to change
    nothing."""
    restraint: int = 300
    """Steps after those until cycle, identity and sparsity have their full weight: what to change is found first."""
    seed: int = 1


class JekyllLearner:
    """The translator, its moving average, which is what is kept, and the critic."""

    def __init__(self, knees: Knees, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.knees, self.settings, self.device = knees, settings, torch.device(device)
        self.translator = translator(settings.width)
        self.opponent = Opponent(CLASSES, settings.width, settings.critic_rate)
        self.average = deepcopy(self.translator).eval().requires_grad_(requires_grad=False)
        self.parts: Mapping[str, nn.Module] = {
            "translator": self.translator,
            "critic": self.opponent.critic,
            "average": self.average,
        }
        for part in self.parts.values():
            part.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers: Mapping[str, Optimizer] = {
            "translator": Adam(self.translator.parameters(), lr=settings.rate, betas=(0.5, 0.99)),
            "critic": self.opponent.optimiser,
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """The translator learns, then the critic, from the same pictures; the critic alone in the first steps."""
        real, classes = self._draw(rng)
        if number < self.settings.patience:
            both = torch.cat([real, real])[:, :, JUDGED]
            return {"critic": self.opponent.learn(both, torch.cat([classes, 1 - classes]), real.shape[0], rng)}
        after = number - self.settings.patience
        set_rate(self.optimisers["translator"], self.settings.rate, after, self.settings.steps - self.settings.patience)
        changed, losses = self._translate(after, real, classes, rng)
        # A picture of the wrong class counts as made, so that doing nothing does not please (Reed et al., ICML 2016).
        shown = torch.cat([real, changed, real])[:, :, JUDGED]
        stated = torch.cat([classes, 1 - classes, 1 - classes])
        losses["critic"] = self.opponent.learn(shown, stated, real.shape[0], rng)
        follow(self.average, self.translator, self.settings.average, after)
        return losses

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (2N, 1, 224, 224), left and right knees, and their classes (2N,)."""
        drawn = np.concatenate([self.knees.draw(rng, self.settings.batch, grades)[0] for grades in GRADES])
        turned = rng.random(drawn.shape[0]) < 0.5
        drawn[turned] = drawn[turned, :, :, ::-1]
        classes = torch.arange(CLASSES).repeat_interleave(self.settings.batch)
        return torch.from_numpy(drawn).to(self.device), classes.to(self.device)

    def _translate(
        self, after: int, real: Tensor, classes: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """One step of the translator, the one after ``after`` others; also its pictures of the other class."""
        chosen, count = self.settings, real.shape[0]
        right = classes[::2]
        with torch.autocast(self.device.type, torch.bfloat16):
            change = self.translator(torch.cat([real, real[::2]]), torch.cat([1 - classes, right])).float()
            changed = real + change[:count]
            back = changed + self.translator(changed, classes).float()
        scores, _ = self.opponent.judge(changed[:, :, JUDGED], 1 - classes, rng)
        losses = {
            "pleasing": pleasing(scores),
            "cycle": (back - real).abs().mean(),
            "identity": change[count:].abs().mean(),
            "change": change[:count].abs().mean(),
        }
        kept = chosen.cycle * losses["cycle"] + chosen.identity * losses["identity"]
        kept = kept + chosen.sparsity * losses["change"]
        descend(self.optimisers["translator"], losses["pleasing"] + min(after / chosen.restraint, 1.0) * kept)
        losses["touched"] = (change[:count].abs() > 2.0 * LEAST_CHANGE).float().mean()
        return changed.detach(), {name: float(value.detach()) for name, value in losses.items()}


def examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of the translator, by its name in the exported file."""
    chance = torch.Generator().manual_seed(seed)
    return {"pictures": 0.5 * torch.randn(1, 1, SIDE, SIDE, generator=chance), "classes": torch.tensor([1])}
