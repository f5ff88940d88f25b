"""Training of the knee diffusion model: the denoiser of coarse pictures, and the decoder to 224 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from tamperscope.models.knee_diffusion import COARSE, FOLD, HALF, SIDE, decoder, denoiser
from tamperscope.train.adversarial import Likeness, Opponent, descend, pleasing
from tamperscope.train.knees import GRADES, Knees
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

DENOISER_STEPS, DECODER_STEPS = 6000, 1100
"""About what nine and five minutes on one core are enough for."""


@dataclass(frozen=True, slots=True)
class DenoiserSettings:
    """The numbers of the denoiser's training."""

    width: int = 16
    batch: int = 16
    rate: float = 2e-3
    steps: int = DENOISER_STEPS
    """Over which the rate falls."""
    average: float = 0.998
    untold: float = 0.1
    """Share of pictures whose grade is not told, so that it can be stressed later (Ho and Salimans, Classifier-Free
    Diffusion Guidance, 2022)."""
    fitted: int = 1500
    """Pictures drawn to find the best linear denoiser."""
    seed: int = 1


class DenoiserLearner:
    """The denoiser and its moving average, which is what is kept."""

    def __init__(self, knees: Knees, settings: DenoiserSettings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.knees, self.settings, self.device = knees, settings, torch.device(device)
        self.denoiser = denoiser(GRADES, settings.width)
        pictures, grades = knees.draw(np.random.default_rng(settings.seed), settings.fitted)
        coarse = functional.avg_pool2d(torch.from_numpy(pictures), FOLD)
        self.denoiser.gaussian.fit(coarse, torch.from_numpy(grades))
        self.average = deepcopy(self.denoiser).eval().requires_grad_(requires_grad=False)
        self.parts: Mapping[str, nn.Module] = {"denoiser": self.denoiser, "average": self.average}
        for part in self.parts.values():
            part.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers: Mapping[str, Optimizer] = {
            "denoiser": Adam(self.denoiser.parameters(), lr=settings.rate, betas=(0.9, 0.99))
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """One batch: mean squared error in units of what the best linear denoiser misses, where 1 is to learn."""
        set_rate(self.optimisers["denoiser"], self.settings.rate, number, self.settings.steps)
        clean, noisy, times, grades = self._draw(rng)
        with torch.no_grad():
            guess, error = self.denoiser.known(noisy, times, grades)
        with torch.autocast(self.device.type, torch.bfloat16):
            missed = self.denoiser.missed(noisy, guess, times, grades)
        loss = functional.mse_loss(missed.float(), (clean - guess) / error)
        descend(self.optimisers["denoiser"], loss)
        follow(self.average, self.denoiser, self.settings.average, number)
        linear = float((((clean - guess) / error) ** 2).mean())
        return {"error": float(loss.detach()), "linear_error": linear}

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Coarse pictures (N, 1, 56, 56), the same under noise, times (N,) and grades (N,)."""
        count = self.settings.batch
        pictures, grades = self.knees.draw(rng, count)
        told = np.where(rng.random(count) < self.settings.untold, GRADES, grades)
        # One time from each of N equal parts of the range: the loss varies less than with independent ones.
        times = ((rng.permutation(count) + rng.random(count)) / count).astype(np.float32)
        clean = functional.avg_pool2d(torch.from_numpy(pictures), FOLD)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
        angle = HALF * torch.from_numpy(times)[:, None, None, None]
        noisy = torch.cos(angle) * clean + torch.sin(angle) * noise
        clean, noisy = clean.to(self.device), noisy.to(self.device)
        return clean, noisy, torch.from_numpy(times).to(self.device), torch.from_numpy(told).to(self.device)


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """The numbers of the decoder's training."""

    width: int = 16
    batch: int = 8
    rate: float = 1e-3
    critic_rate: float = 5e-4
    steps: int = DECODER_STEPS
    average: float = 0.995
    roughness: float = 0.08
    """Largest standard deviation of noise on the coarse pictures, which makes the decoder forgive what the denoiser
    leaves (Ho et al., Cascaded Diffusion Models, JMLR 23, 2022)."""
    likeness: Likeness = field(default_factory=lambda: Likeness(coarse=10.0))
    seed: int = 1


class DecoderLearner:
    """The decoder, its moving average, which is what is kept, and the critic."""

    def __init__(self, knees: Knees, settings: DecoderSettings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.knees, self.settings, self.device = knees, settings, torch.device(device)
        self.decoder = decoder(settings.width)
        self.opponent = Opponent(GRADES, settings.width, settings.critic_rate)
        self.average = deepcopy(self.decoder).eval().requires_grad_(requires_grad=False)
        self.parts: Mapping[str, nn.Module] = {
            "decoder": self.decoder,
            "critic": self.opponent.critic,
            "average": self.average,
        }
        for part in self.parts.values():
            part.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers: Mapping[str, Optimizer] = {
            "decoder": Adam(self.decoder.parameters(), lr=settings.rate, betas=(0.5, 0.99)),
            "critic": self.opponent.optimiser,
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """The decoder learns, then the critic, from the same pictures."""
        chosen, count = self.settings, self.settings.batch
        set_rate(self.optimisers["decoder"], chosen.rate, number, chosen.steps)
        drawn, drawn_grades = self.knees.draw(rng, count)
        real, grades = torch.from_numpy(drawn).to(self.device), torch.from_numpy(drawn_grades).to(self.device)
        made = self._paint(real, rng)
        both, two = torch.cat([real, made]), torch.cat([grades, grades])
        scores, features = self.opponent.judge(both, two, rng, copies=2)
        alike, losses = chosen.likeness.loss(
            made, real, [one[count:] for one in features], [one[:count] for one in features]
        )
        pleased = pleasing([score[count:] for score in scores])
        descend(self.optimisers["decoder"], alike + pleased)
        losses["critic"] = self.opponent.learn(both.detach(), two, count, rng)
        follow(self.average, self.decoder, chosen.average, number)
        return {**losses, "pleasing": float(pleased.detach())}

    def _paint(self, real: Tensor, rng: np.random.Generator) -> Tensor:
        """The pictures (N, 1, 224, 224), painted again from what is left of them at 56 pixels."""
        coarse = functional.avg_pool2d(real, FOLD)
        strength = rng.uniform(0.0, self.settings.roughness, (coarse.shape[0], 1, 1, 1))
        rough = (strength * rng.standard_normal(coarse.shape)).astype(np.float32)
        grain = rng.standard_normal(real.shape, dtype=np.float32)
        with torch.autocast(self.device.type, torch.bfloat16):
            seen = coarse + torch.from_numpy(rough).to(self.device)
            made: Tensor = self.decoder(seen, torch.from_numpy(grain).to(self.device))
        return made.float()


def denoiser_examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of the denoiser, by its name in the exported file."""
    chance = torch.Generator().manual_seed(seed)
    noisy = torch.randn(1, 1, COARSE, COARSE, generator=chance)
    return {"noisy": noisy, "times": torch.tensor([0.6]), "grades": torch.tensor([2])}


def decoder_examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of the decoder, by its name in the exported file."""
    chance = torch.Generator().manual_seed(seed)
    coarse = 0.5 * torch.randn(1, 1, COARSE, COARSE, generator=chance)
    return {"coarse": coarse, "grain": torch.randn(1, 1, SIDE, SIDE, generator=chance)}
