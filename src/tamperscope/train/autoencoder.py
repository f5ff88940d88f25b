"""Training of the autoencoder: one encoder, and a decoder for every kind of up-sampling, from the same patches."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from tamperscope.attacks.autoencoder import STRIDE, UPSAMPLINGS
from tamperscope.models.autoencoder import LATENT, WIDTH, Autoencoder, decoder, encoder
from tamperscope.train.patches import Patches
from tamperscope.train.rate import set_rate
from tamperscope.train.run import follow

STEPS = 6000
"""What ten minutes on one core are enough for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a training."""

    width: int = WIDTH
    latent: int = LATENT
    batch: int = 24
    rate: float = 2e-3
    weight_decay: float = 0.0
    steps: int = STEPS
    """Over which the rate falls."""
    average: float = 0.995
    seed: int = 1


class AutoencoderLearner:
    """An autoencoder for each kind of up-sampling; they share the encoder. Moving averages are what is kept."""

    def __init__(self, patches: Patches, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.patches, self.settings, self.device = patches, settings, torch.device(device)
        nets: dict[str, nn.Module] = {"encoder": encoder(settings.width, settings.latent)}
        nets |= {kind: decoder(kind, settings.width, settings.latent) for kind in UPSAMPLINGS}
        self.nets = nets
        self.averages = {name: deepcopy(net).eval().requires_grad_(requires_grad=False) for name, net in nets.items()}
        self.parts: Mapping[str, nn.Module] = nets | {f"average-{name}": net for name, net in self.averages.items()}
        for part in self.parts.values():
            part.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = [weight for net in nets.values() for weight in net.parameters()]
        self.optimisers: Mapping[str, Optimizer] = {
            "all": AdamW(weights, lr=settings.rate, weight_decay=settings.weight_decay)
        }

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """One batch: the mean absolute difference of every decoder's reconstruction."""
        seen = torch.from_numpy(self.patches.draw(rng, self.settings.batch)).to(self.device)
        set_rate(self.optimisers["all"], self.settings.rate, number, self.settings.steps)
        losses = {}
        with torch.autocast(self.device.type, torch.bfloat16):
            latent = self.nets["encoder"](seen)
            for kind in UPSAMPLINGS:
                losses[kind] = functional.l1_loss(self.nets[kind](latent).float(), seen)
        loss = torch.stack(list(losses.values())).mean()
        self.optimisers["all"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([weight for net in self.nets.values() for weight in net.parameters()], 1.0)
        self.optimisers["all"].step()
        for name, average in self.averages.items():
            follow(average, self.nets[name], self.settings.average, number)
        return {kind: value.item() for kind, value in losses.items()}

    def result(self, kind: str) -> Autoencoder:
        """The averaged encoder with the averaged decoder of one kind."""
        return Autoencoder(self.averages["encoder"], self.averages[kind])


def examples(seed: int = 0, sides: tuple[int, int] = (96, 64)) -> dict[str, Tensor]:
    """The network's input by its name in the exported file; ``sides`` (H, W) are multiples of 4."""
    picture = torch.randn((1, 1, *sides), generator=torch.Generator().manual_seed(seed)).clamp(-1.0, 1.0)
    return {"picture": picture}


def shapes() -> dict[str, dict[int, object]]:
    """Height and width stay free, in multiples of the bottleneck's step."""
    rows, columns = (torch.export.Dim(name, min=4, max=512) for name in ("rows", "columns"))
    return {"picture": {2: STRIDE * rows, 3: STRIDE * columns}}
