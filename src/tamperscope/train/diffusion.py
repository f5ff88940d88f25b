"""Training of the diffusion inpainter: noise on cubes of lung, with a nodule or without, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from tamperscope.attacks import lung_grid, scale
from tamperscope.attacks.diffusion_inpaint import HOLE_MM, HOLES, MARGIN_MM, TRAINED_STEPS, hole, signal_shares
from tamperscope.models.diffusion import WIDTHS, diffusion_net
from tamperscope.records import FloatArray
from tamperscope.train.lung_cubes import LungCubes
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

STEPS = 4200
"""What ten minutes on one core are enough for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a training."""

    widths: tuple[int, int, int] = WIDTHS
    batch: int = 24
    """Cubes a step, one half of them with a nodule."""
    rate: float = 1.5e-3
    weight_decay: float = 0.01
    steps: int = STEPS
    """Over which the rate falls."""
    average: float = 0.995
    context: float = 0.3
    """Weight of the loss outside the hole; inside it is 1."""
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from; cubes are (N, 16, 32, 32) in -1..1."""

    clean: Tensor
    hole: Tensor
    noise: Tensor
    nodule: Tensor
    """(N,) diameter in cm, 0 for none."""
    t: Tensor
    """(N,) whole numbers, places among the noising steps."""


class DiffusionLearner:
    """The network and its moving average, which is what is kept."""

    def __init__(self, cubes: LungCubes, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.cubes, self.settings, self.device = cubes, settings, torch.device(device)
        self.net = diffusion_net(lung_grid.SHAPE[0], settings.widths)
        self.average = deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        self.parts: Mapping[str, nn.Module] = {"net": self.net, "average": self.average}
        for part in self.parts.values():
            part.to(self.device)
        self.optimisers: Mapping[str, Optimizer] = {
            "net": AdamW(self.net.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
        }
        self.shares = torch.from_numpy(signal_shares()).float().to(self.device)

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """One batch: the mean squared error of the velocity (Salimans and Ho, ICLR 2022), mostly inside the hole."""
        batch = self.draw(rng)
        set_rate(self.optimisers["net"], self.settings.rate, number, self.settings.steps)
        share = self.shares[batch.t][:, None, None, None]
        a, s = share.sqrt(), (1.0 - share).sqrt()
        noisy = a * batch.clean + s * batch.noise
        known = batch.clean * (1.0 - batch.hole)
        with torch.autocast(self.device.type, torch.bfloat16):
            velocity = self.net(noisy, known, batch.hole, batch.t / TRAINED_STEPS, batch.nodule)
        error = (velocity.float() - (a * batch.noise - s * batch.clean)) ** 2
        inside = (error * batch.hole).sum() / batch.hole.sum()
        outside = (error * (1.0 - batch.hole)).sum() / (1.0 - batch.hole).sum()
        loss = inside + self.settings.context * outside
        self.optimisers["net"].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimisers["net"].step()
        follow(self.average, self.net, self.settings.average, number)
        return {"inside": inside.item(), "outside": outside.item()}

    def draw(self, rng: np.random.Generator) -> Batch:
        """Cubes, holes, noise and noise levels."""
        drawn = [self._one(rng, grow=number % 2 == 0) for number in range(self.settings.batch)]
        clean, holes, nodules = zip(*drawn, strict=True)
        size = (len(drawn), *lung_grid.SHAPE)
        # One level from each of N equal parts of the range: the loss varies less than with independent ones.
        levels = (np.arange(len(drawn)) + rng.random(len(drawn))) / len(drawn) * TRAINED_STEPS
        return Batch(
            clean=self._tensor(np.stack(clean)),
            hole=self._tensor(np.stack(holes).astype(np.float32)),
            noise=self._tensor(rng.standard_normal(size, dtype=np.float32)),
            nodule=self._tensor(np.array(nodules, dtype=np.float32) / 10.0),
            t=self._tensor(rng.permutation(levels.astype(np.int64))),
        )

    def _one(self, rng: np.random.Generator, *, grow: bool) -> tuple[FloatArray, FloatArray, float]:
        cube, diameter = self.cubes.with_nodule(rng) if grow else (self.cubes.healthy(rng), 0.0)
        least = max(HOLE_MM[0], min(diameter + MARGIN_MM, HOLE_MM[1]))
        gap = hole(str(rng.choice(HOLES)), float(rng.uniform(least, HOLE_MM[1])))
        return scale.squeeze(cube, lung_grid.WINDOW_HU), gap.astype(np.float32), diameter

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of the network, by its name in the exported file."""
    chance = torch.Generator().manual_seed(seed)
    cube = torch.randn((2, 1, *lung_grid.SHAPE), generator=chance)
    gap = torch.from_numpy(hole("box", 20.0).astype(np.float32))[None]
    known = cube[1].clamp(-1.0, 1.0) * (1.0 - gap)
    return {"noisy": cube[0], "known": known, "hole": gap, "t": torch.tensor([0.5]), "nodule": torch.tensor([0.9])}
