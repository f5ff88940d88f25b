"""Training of the CycleGAN-type translation: two generators, two discriminators, and cubes with and without nodules."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from tamperscope.attacks import lung_grid, scale
from tamperscope.attacks.cycle_gan import NODULE_MM, mask
from tamperscope.models.cycle_gan import DEPTH, WIDTH, Generator, discriminator, generator
from tamperscope.records import FloatArray
from tamperscope.train.lung_cubes import LungCubes
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

STEPS = 2800
"""What ten minutes on one core are enough for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a training."""

    width: int = WIDTH
    depth: int = DEPTH
    batch: int = 8
    """Cubes of each domain a step."""
    rate: float = 4e-4
    steps: int = STEPS
    """Over which the rate falls."""
    average: float = 0.995
    cycle: float = 5.0
    """Weight of the cycle loss: half of what is published, for a mask is a small part of a cube."""
    identity: float = 2.5
    """Weight of the identity loss: half of the cycle's, as published."""
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Cubes (N, 16, 32, 32) in -1..1 of one domain, and their masks."""

    cube: Tensor
    mask: Tensor


class CycleGanLearner:
    """Generators "inject" and "remove", a discriminator for each domain, and the generators' moving averages."""

    def __init__(self, cubes: LungCubes, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.cubes, self.settings, self.device = cubes, settings, torch.device(device)
        slices = lung_grid.SHAPE[0]
        self.inject, self.remove = (generator(slices, settings.width, settings.depth) for _ in range(2))
        self.nodule, self.healthy = (discriminator(slices, settings.width) for _ in range(2))
        self.averages = {
            name: deepcopy(net).eval().requires_grad_(requires_grad=False)
            for name, net in (("inject", self.inject), ("remove", self.remove))
        }
        self.parts: Mapping[str, nn.Module] = {
            "inject": self.inject,
            "remove": self.remove,
            "nodule": self.nodule,
            "healthy": self.healthy,
            "average-inject": self.averages["inject"],
            "average-remove": self.averages["remove"],
        }
        for part in self.parts.values():
            part.to(self.device)
        makers = chain(self.inject.parameters(), self.remove.parameters())
        judges = chain(self.nodule.parameters(), self.healthy.parameters())
        self.optimisers: Mapping[str, Optimizer] = {
            "generators": Adam(makers, lr=settings.rate, betas=(0.5, 0.99)),
            "discriminators": Adam(judges, lr=settings.rate, betas=(0.5, 0.99)),
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """The generators learn, then the discriminators, from the same cubes."""
        for optimiser in self.optimisers.values():
            set_rate(optimiser, self.settings.rate, number, self.settings.steps)
        healthy, nodule = self.draw(rng, grown=False), self.draw(rng, grown=True)
        losses, grown, cleared = self._make(healthy, nodule)
        losses |= self._judge(healthy, nodule, grown, cleared)
        for name, average in self.averages.items():
            follow(average, self.parts[name], self.settings.average, number)
        return losses

    def _make(self, healthy: Domain, nodule: Domain) -> tuple[dict[str, float], Tensor, Tensor]:
        """One step of both generators (Zhu et al. 2017, equations 1 to 3 and section 5.2); also what they made."""
        self._freeze(frozen=True)
        with torch.autocast(self.device.type, torch.bfloat16):
            grown = translate(self.inject, healthy)
            cleared = translate(self.remove, nodule)
            again_healthy = translate(self.remove, Domain(grown, healthy.mask))
            again_nodule = translate(self.inject, Domain(cleared, nodule.mask))
            same_healthy, same_nodule = translate(self.remove, healthy), translate(self.inject, nodule)
            believed = self.nodule(grown, healthy.mask), self.healthy(cleared, nodule.mask)
        adversarial = _wrong(believed[0], 1.0, healthy.mask) + _wrong(believed[1], 1.0, nodule.mask)
        cycle = _difference(again_healthy, healthy) + _difference(again_nodule, nodule)
        identity = _difference(same_healthy, healthy) + _difference(same_nodule, nodule)
        loss = adversarial + self.settings.cycle * cycle + self.settings.identity * identity
        self._descend("generators", loss)
        self._freeze(frozen=False)
        values = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
        return {name: value.item() for name, value in values.items()}, grown.detach(), cleared.detach()

    def _judge(self, healthy: Domain, nodule: Domain, grown: Tensor, cleared: Tensor) -> dict[str, float]:
        """One step of both discriminators by least squares (Mao et al., LSGAN, ICCV 2017, equation 2)."""
        pairs = (
            ("judge_nodule", self.nodule, nodule, Domain(grown, healthy.mask)),
            ("judge_healthy", self.healthy, healthy, Domain(cleared, nodule.mask)),
        )
        losses = {}
        for name, net, real, fake in pairs:
            with torch.autocast(self.device.type, torch.bfloat16):
                scores = net(torch.cat([real.cube, fake.cube]), torch.cat([real.mask, fake.mask]))
            true, false = scores.chunk(2)
            losses[name] = 0.5 * _wrong(true, 1.0, real.mask) + 0.5 * _wrong(false, 0.0, fake.mask)
        self._descend("discriminators", torch.stack(list(losses.values())).sum())
        return {name: loss.item() for name, loss in losses.items()}

    def draw(self, rng: np.random.Generator, *, grown: bool) -> Domain:
        """Cubes of one domain with masks: for a nodule by its size, for healthy lung by a size that could be one."""
        drawn = [self._one(rng, grown=grown) for _ in range(self.settings.batch)]
        cubes, masks = (torch.from_numpy(np.stack(arrays)).to(self.device) for arrays in zip(*drawn, strict=True))
        return Domain(cubes, masks)

    def _one(self, rng: np.random.Generator, *, grown: bool) -> tuple[FloatArray, FloatArray]:
        if grown:
            cube, diameter = self.cubes.with_nodule(rng)
        else:
            cube, diameter = self.cubes.clear(rng), float(rng.uniform(*NODULE_MM))
        stretch = [float(x) for x in rng.uniform(0.85, 1.15, 3)]
        return scale.squeeze(cube, lung_grid.WINDOW_HU), mask(diameter, stretch)

    def _freeze(self, *, frozen: bool) -> None:
        for net in (self.nodule, self.healthy):
            net.requires_grad_(not frozen)

    def _descend(self, which: str, loss: Tensor) -> None:
        self.optimisers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers[which].step()


def translate(net: Generator, domain: Domain) -> Tensor:
    """Masked output: (1 - m) x + m G(x), as `attacks.cycle_gan` makes it."""
    answer: Tensor = net(domain.cube, domain.mask).float()
    return (1.0 - domain.mask) * domain.cube + domain.mask * answer.clamp(-1.0, 1.0)


def _wrong(scores: Tensor, label: float, mask: Tensor) -> Tensor:
    """Mean squared distance of scores (N, 1, h, w) from a label, over the patches that the mask reaches."""
    weight = functional.adaptive_max_pool2d(mask.amax(dim=1, keepdim=True), scores.shape[2:])
    return ((scores.float() - label) ** 2 * weight).sum() / weight.sum()


def _difference(made: Tensor, domain: Domain) -> Tensor:
    return functional.l1_loss(made, domain.cube)


def examples(seed: int = 0) -> dict[str, Tensor]:
    """One of each input of a generator, by its name in the exported file."""
    cube = torch.randn((1, *lung_grid.SHAPE), generator=torch.Generator().manual_seed(seed)).clamp(-1.0, 1.0)
    return {"cube": cube, "mask": torch.from_numpy(mask(10.0, (1.0, 1.0, 1.0)))[None]}
