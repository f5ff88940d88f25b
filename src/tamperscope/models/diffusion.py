"""DiffusionNet: a small U-Net that takes noise out of a cube whose slices are its channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8
EMBEDDING = 64
WIDTHS = (40, 64, 80)


class Block(nn.Module):
    """Two 3 x 3 convolutions round a skip, shifted and scaled by an embedding (Dhariwal and Nichol, NeurIPS 2021)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(GROUPS, before)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.affine = nn.Linear(EMBEDDING, 2 * after)
        self.second_norm = nn.GroupNorm(GROUPS, after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(N, C, H, W) and (N, E) to (N, C', H, W)."""
        inner = self.first(functional.silu(self.first_norm(x)))
        gain, shift = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = self.second(functional.silu(self.second_norm(inner) * (1.0 + gain) + shift))
        out: Tensor = self.skip(x) + inner
        return out


class DiffusionNet(nn.Module):
    """The velocity of a noisy cube (N, K, H, W), H and W multiples of 4, known round a hole.

    Three resolutions with one block each on the way down and up; up-sampling is nearest neighbour and a convolution.
    The last convolution sees the inputs again, so that noise need not pass the narrow parts.
    """

    def __init__(self, slices: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        full, half, quarter = widths
        self.embed = nn.Sequential(nn.Linear(EMBEDDING + 2, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.stem = nn.Conv2d(3 * slices, full, 3, padding=1)
        self.down_full = Block(full, full)
        self.to_half = nn.Conv2d(full, half, 3, stride=2, padding=1)
        self.down_half = Block(half, half)
        self.to_quarter = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.deepest = Block(quarter, quarter)
        self.from_quarter = nn.Conv2d(quarter, half, 3, padding=1)
        self.up_half = Block(2 * half, half)
        self.from_half = nn.Conv2d(half, full, 3, padding=1)
        self.up_full = Block(2 * full, full)
        self.norm = nn.GroupNorm(GROUPS, full)
        self.head = nn.Conv2d(full + 2 * slices, slices, 3, padding=1)

    def forward(self, noisy: Tensor, known: Tensor, hole: Tensor, t: Tensor, nodule: Tensor) -> Tensor:
        """Velocity (N, K, H, W).

        Args:
            noisy: (N, K, H, W) in about -1..1.
            known: The cube with zeros in its hole.
            hole: 1 where it is to be filled, else 0.
            t: (N,) place among the noising steps, 0 to 1.
            nodule: (N,) diameter of the nodule to grow in cm, 0 for none.
        """
        wish = torch.stack([nodule, (nodule > 0).to(nodule.dtype)], dim=1)
        embedding = self.embed(torch.cat([_waves(t), wish], dim=1))
        full = self.down_full(self.stem(torch.cat([noisy, known, hole], dim=1)), embedding)
        half = self.down_half(self.to_half(full), embedding)
        deep = self.deepest(self.to_quarter(half), embedding)
        half = self.up_half(torch.cat([self.from_quarter(_doubled(deep)), half], dim=1), embedding)
        full = self.up_full(torch.cat([self.from_half(_doubled(half)), full], dim=1), embedding)
        velocity: Tensor = self.head(torch.cat([functional.silu(self.norm(full)), noisy, known], dim=1))
        return velocity


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _waves(t: Tensor) -> Tensor:
    """(N,) in 0..1 to sines and cosines (N, E) of 1 to 1000 radians, in equal ratios (Vaswani et al., NeurIPS 2017)."""
    steps = torch.arange(EMBEDDING // 2, dtype=torch.float32, device=t.device) / (EMBEDDING // 2 - 1)
    angles = t[:, None] * torch.exp(steps * math.log(1000.0))[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def diffusion_net(slices: int = 16, widths: tuple[int, int, int] = WIDTHS) -> DiffusionNet:
    """The network with the numbers of the published weights; ``widths`` are multiples of 8."""
    return DiffusionNet(slices, widths)
