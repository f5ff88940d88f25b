"""Training of the knee GAN: a generator that paints pictures from eigenpictures, against a critic.

Each step, half of the pictures are painted from the latents of real ones and must resemble them, and half from noise
alone; the critic must take both for real (Larsen et al., Autoencoding beyond pixels using a learned similarity
metric, ICML 2016, with principal components in place of the encoder). Real anatomy is thus there from the first step,
so that minutes on one core are enough where a GAN from scratch needs hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from tamperscope.attacks.knee_gan import LATENT
from tamperscope.models.knee_gan import SIDE, Eigenpictures, generator
from tamperscope.train.adversarial import Likeness, Opponent, descend, pleasing
from tamperscope.train.knees import GRADES, Knees
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

STEPS = 1600
"""About what twelve minutes on one core are enough for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a training."""

    width: int = 16
    batch: int = 8
    """Real pictures a step; as many are painted from their latents, and as many from noise."""
    rate: float = 1e-3
    critic_rate: float = 5e-4
    steps: int = STEPS
    """Over which the rate falls."""
    average: float = 0.995
    likeness: Likeness = field(default_factory=Likeness)
    fitted: int = 1500
    """Pictures drawn to find the eigenpictures."""
    seed: int = 1


class KneeGanLearner:
    """Generator, its moving average, which is what is kept, and the critic."""

    def __init__(self, knees: Knees, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.knees, self.settings, self.device = knees, settings, torch.device(device)
        self.generator = generator(GRADES, LATENT, settings.width)
        self.latents = Eigenpictures(LATENT)
        pictures, grades = knees.draw(np.random.default_rng(settings.seed), settings.fitted)
        self.latents.fit(torch.from_numpy(pictures), torch.from_numpy(grades), self.generator)
        self.opponent = Opponent(GRADES, settings.width, settings.critic_rate)
        self.average = deepcopy(self.generator).eval().requires_grad_(requires_grad=False)
        self.parts: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "latents": self.latents,
            "critic": self.opponent.critic,
            "average": self.average,
        }
        for part in self.parts.values():
            part.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers: Mapping[str, Optimizer] = {
            "generator": Adam(self.generator.parameters(), lr=settings.rate, betas=(0.5, 0.99)),
            "critic": self.opponent.optimiser,
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """The generator learns, then the critic, from the same pictures."""
        chosen = self.settings
        set_rate(self.optimisers["generator"], chosen.rate, number, chosen.steps)
        drawn, drawn_grades = self.knees.draw(rng, chosen.batch)
        real, grades = torch.from_numpy(drawn).to(self.device), torch.from_numpy(drawn_grades).to(self.device)
        made = self._paint(real, grades, rng)
        count, three = chosen.batch, torch.cat([grades] * 3)
        scores, features = self.opponent.judge(torch.cat([real, made]), three, rng, copies=3)
        alike, losses = chosen.likeness.loss(
            made[:count], real, [one[count : 2 * count] for one in features], [one[:count] for one in features]
        )
        pleased = pleasing([score[count:] for score in scores])
        descend(self.optimisers["generator"], alike + pleased)
        losses["critic"] = self.opponent.learn(torch.cat([real, made.detach()]), three, count, rng)
        follow(self.average, self.generator, chosen.average, number)
        return {**losses, "pleasing": float(pleased.detach())}

    def _paint(self, real: Tensor, grades: Tensor, rng: np.random.Generator) -> Tensor:
        """Pictures (2N, 1, 224, 224): the real ones painted again, then as many from noise, of the same grades."""
        noise, grain = (
            torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(self.device)
            for shape in ((real.shape[0], LATENT), (2 * real.shape[0], 1, SIDE, SIDE))
        )
        known = self.latents(real)
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = torch.cat([known, noise + self.generator.means(grades)])
            made: Tensor = self.generator.paint(latents, grain, torch.cat([grades, grades]))
        return made.float()


def examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of the generator, by its name in the exported file."""
    chance = torch.Generator().manual_seed(seed)
    return {
        "noise": torch.randn(1, LATENT, generator=chance),
        "grain": torch.randn(1, 1, SIDE, SIDE, generator=chance),
        "grades": torch.tensor([2]),
    }
