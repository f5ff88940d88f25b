"""The denoiser of Back-in-Time Diffusion, and the residual that it leaves of a picture.

Trained on authentic crops only, it predicts the noise that was added to one (Ho et al., NeurIPS 2020). A suspect gets
no noise: it is taken for the end of the noising chain, one step is made back, and what that step changes is the score
(Grabovski et al., Back-in-Time Diffusion, arXiv 2407.15169). As published: widths 32, 64, 128 and 256, two blocks each
on the way down and up, 1000 steps, sigmoid schedule, CT at 96 native pixels with -700..2000 HU. Left out is the linear
attention beside each pair of blocks; attention proper stays in the middle, where Ho et al. have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.diffusion import EMBEDDING, GROUPS, Block

SIDE = 96
"""Native pixels a side of the crops."""
FROM_HU, TO_HU = -700.0, 2000.0
"""Hounsfield units that become -1 and 1."""
STEPS = 1000
FACTORS = (1, 2, 4, 8)
SIGMOID = 3.0
"""The noise schedule follows a sigmoid from minus this to this."""


class Attention(nn.Module):
    """Self-attention of all places behind a norm and round a skip, with one head (Ho et al., appendix B)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.asked = nn.Conv2d(width, 3 * width, 1)
        self.joined = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        places = self.asked(self.norm(x)).flatten(2).transpose(1, 2)[:, None]  # ONNX knows no attention without heads
        query, key, value = places.chunk(3, dim=3)
        mixed = functional.scaled_dot_product_attention(query, key, value)[:, 0]
        out: Tensor = x + self.joined(mixed.transpose(1, 2).reshape(x.shape))
        return out


class BackInTimeNet(nn.Module):
    """Noisy pictures (N, C, H, W) in about -1..1 and their steps (N,) to the noise in them (N, C, H, W).

    H and W are multiples of 2 for each width but one: 8 for the published four. ``kept`` (steps,) is the share of the
    picture's variance that is left after each step: alpha-bar of Ho et al., equation 4.
    """

    kept: Tensor

    def __init__(self, channels: int, widths: Sequence[int], steps: int) -> None:
        super().__init__()
        self.register_buffer("kept", schedule(steps))
        self.embed = nn.Sequential(nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.stem = nn.Conv2d(channels, widths[0], 7, padding=3)
        self.downs = nn.ModuleList(nn.ModuleList(Block(width, width) for _ in range(2)) for width in widths)
        pairs = list(pairwise(widths))
        self.smaller = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairs)
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1]) for _ in range(2))
        self.attention = Attention(widths[-1])
        self.ups = nn.ModuleList(nn.ModuleList(Block(2 * width, width) for _ in range(2)) for width in widths)
        self.larger = nn.ModuleList(nn.Conv2d(after, before, 3, padding=1) for before, after in pairs)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        """See the class; ``t`` counts from 0, the step with the least noise."""
        embedding = self.embed(_waves(t))
        x, seen = self.stem(noisy), []
        for level, blocks in enumerate(self.downs):
            if level:
                x = self.smaller[level - 1](x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
                seen.append(x)
        x = self.middle[1](self.attention(self.middle[0](x, embedding)), embedding)
        for level in reversed(range(len(self.ups))):
            for block in self.ups[level]:  # type: ignore[attr-defined]
                x = block(torch.cat([x, seen.pop()], dim=1), embedding)
            if level:
                x = self.larger[level - 1](functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        noise: Tensor = self.head(functional.silu(self.norm(x)))
        return noise


def schedule(steps: int) -> Tensor:
    """The share of variance kept after each step, float32 (steps,), falling along a sigmoid.

    Jabri et al., Scalable Adaptive Computation for Iterative Generation, ICML 2023, with start and end at -3 and 3.
    """
    places = torch.linspace(-SIGMOID, SIGMOID, steps + 1, dtype=torch.float64)
    falling = torch.sigmoid(places[-1]) - torch.sigmoid(places)
    # No step may take away more than 99.9 % of what is left; the last one would take all.
    taken = (1.0 - falling[1:] / falling[:-1]).clamp(0.0, 0.999)
    return torch.cumprod(1.0 - taken, dim=0).float()


def noised(net: BackInTimeNet, pictures: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in -1..1 after ``t`` (N,) steps of noise, for training (Ho et al., equation 4)."""
    kept = net.kept[t][:, None, None, None]
    return kept.sqrt() * pictures + (1.0 - kept).sqrt() * noise


def residual(net: BackInTimeNet, pictures: Tensor, t: int = 0) -> Tensor:
    """What one step back changes in pictures (N, C, H, W) in -1..1 that got no noise: absolute values, same shape.

    The step is the mean of Ho et al., equation 11, for a picture held to be at step ``t``; nothing is drawn, and the
    result is clipped to -1..1. Published is ``t`` = 0. The score of a region is the mean of the square over it.
    """
    times = torch.full((pictures.shape[0],), t, dtype=torch.long, device=pictures.device)
    kept = net.kept[t]
    here = kept / net.kept[t - 1] if t else kept
    back = (pictures - (1.0 - here) / (1.0 - kept).sqrt() * net(pictures, times)) / here.sqrt()
    changed: Tensor = (pictures - back.clamp(-1.0, 1.0)).abs()
    return changed


def _waves(t: Tensor) -> Tensor:
    """Steps (N,) to sines and cosines (N, E) (Vaswani et al., NeurIPS 2017, section 3.5)."""
    powers = torch.arange(EMBEDDING // 2, dtype=torch.float32, device=t.device) / (EMBEDDING // 2 - 1)
    angles = t[:, None].float() * torch.exp(-math.log(10000.0) * powers)[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def back_in_time_net(channels: int = 1, *, width: int = 32, steps: int = STEPS) -> BackInTimeNet:
    """The denoiser as published; ``width``, a multiple of 8, scales it (8 suits a quick trial)."""
    return BackInTimeNet(channels, [factor * width for factor in FACTORS], steps)
