"""The two halves of a CycleGAN (Zhu et al., ICCV 2017) for cubes whose slices are the channels of the networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8
WIDTH, DEPTH = 40, 4
"""Of the generators with the published weights: channels at full resolution, and residual blocks."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions round a skip. Groups are normalised, since Hounsfield units must survive."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = x + self.inner(x)
        return out


class Generator(nn.Module):
    """A cube and its mask (N, K, H, W), H and W even, to what the mask is to be filled with.

    Down once, residual blocks, and up again by a transposed convolution, as in the published generator; what comes
    out is added to the cube, so that training begins with a translation that changes nothing.
    """

    def __init__(self, slices: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2 * slices, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*[Residual(2 * width) for _ in range(depth)])
        self.up = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
        self.head = nn.Conv2d(2 * width, slices, 3, padding=1)
        for weight in self.head.parameters():
            nn.init.zeros_(weight)

    def forward(self, cube: Tensor, mask: Tensor) -> Tensor:
        """Values in about -1..1 of the same shape as ``cube``."""
        full = functional.relu(self.stem(torch.cat([cube, mask], dim=1)))
        deep = self.blocks(functional.relu(self.down(full)))
        out: Tensor = cube + self.head(torch.cat([functional.relu(self.up(deep)), full], dim=1))
        return out


class Discriminator(nn.Module):
    """A cube and its mask (N, K, H, W) to a map of patches (N, 1, H/4, W/4): high where they look real."""

    def __init__(self, slices: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * slices, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(GROUPS, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GroupNorm(GROUPS, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, cube: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        patches: Tensor = self.layers(torch.cat([cube, mask], dim=1))
        return patches


def generator(slices: int = 16, width: int = WIDTH, depth: int = DEPTH) -> Generator:
    """A generator with the numbers of the published weights; ``width`` is a multiple of 4."""
    return Generator(slices, width, depth)


def discriminator(slices: int = 16, width: int = WIDTH) -> Discriminator:
    """A discriminator to go with it; ``width`` is a multiple of 4."""
    return Discriminator(slices, width)
