"""CT-GAN's two networks as published: pix2pix in three dimensions (Mirsky et al., USENIX Security 2019).

The paper's networks were written for Keras, whose "same" padding is not symmetric where kernels are even: of the 3
voxels that a kernel of 4 with stride 1 needs, 1 goes before and 2 go after. With stride 2 it needs 2, one on each
side. Weights start, and batch norm counts, as they do in Keras. At the published width of 100 both networks together
have 189.5 million parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 32
"""Voxels of 1 mm a side of the cubes that both networks take."""
WIDTH = 100
"""Filters of the first layer as published."""
GENERATOR, DISCRIMINATOR = (1, 2, 4, 8, 8), (1, 2, 4, 8)
"""Filters of the layers that halve the grid, in widths."""
KERNEL = 4
LEAK = 0.2
NORM_MOMENTUM, NORM_EPS = 0.2, 1e-3
"""Keras' momentum of 0.8 is torch's 0.2; 1e-3 is Keras' own."""
DROPOUT = 0.5


class Down(nn.Module):
    """Halve the grid: convolution with stride 2, leaky ReLU, then batch norm except in the first layer."""

    def __init__(self, before: int, after: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = _started(nn.Conv3d(before, after, KERNEL, stride=2, padding=1))
        self.norm = nn.BatchNorm3d(after, NORM_EPS, NORM_MOMENTUM) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C', D/2, H/2, W/2)."""
        out: Tensor = self.norm(functional.leaky_relu(self.conv(x), LEAK))
        return out


class Enlarge(nn.Module):
    """Repeat every voxel twice along each axis, then convolve with a kernel of 4 and "same" padding.

    In training the same sums are taken in another order, at the resolution of the input: a repeated voxel meets two
    neighbouring weights, which may be added beforehand. Each of the 8 outputs of a voxel then has a kernel of its own
    of 3 voxels a side (Shi et al., Real-Time Single Image and Video Super-Resolution, CVPR 2016, section 3). On a
    processor that is five times as fast and more. Evaluation, and so the exported file, keeps the plain form, whose
    weights are fewer.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = _started(nn.Conv3d(before, after, KERNEL))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C', 2D, 2H, 2W)."""
        if self.training:
            return self._by_phase(x)
        repeated = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.conv(functional.pad(repeated, (1, 2) * 3))
        return out

    def _by_phase(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        # Output 2p takes the inputs p-1, p, p, p+1 and output 2p+1 takes p, p, p+1, p+1: which weight meets which.
        meets = weight.new_zeros(2, 3, KERNEL)
        for phase, inputs in enumerate(((0, 1, 1, 2), (1, 1, 2, 2))):
            for tap, place in enumerate(inputs):
                meets[phase, place, tap] = 1.0
        kernels = torch.einsum("oiabc,pxa,qyb,rzc->opqrixyz", weight, meets, meets, meets)
        after, before = weight.shape[:2]
        out = functional.conv3d(x, kernels.reshape(8 * after, before, 3, 3, 3), padding=1)
        n, _, depth, height, width = out.shape
        out = out.view(n, after, 2, 2, 2, depth, height, width).permute(0, 1, 5, 2, 6, 3, 7, 4)
        out = out.reshape(n, after, 2 * depth, 2 * height, 2 * width)
        return out if self.conv.bias is None else out + self.conv.bias.view(-1, 1, 1, 1)


class Up(nn.Module):
    """Double the grid, ReLU, dropout, batch norm, then the features of that size on the way down are put beside."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.enlarge = Enlarge(before, after)
        self.dropout = nn.Dropout(DROPOUT)
        self.norm = nn.BatchNorm3d(after, NORM_EPS, NORM_MOMENTUM)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, D, H, W) and a skip (N, S, 2D, 2H, 2W) to (N, C' + S, 2D, 2H, 2W)."""
        return torch.cat([self.norm(self.dropout(functional.relu(self.enlarge(x)))), skip], dim=1)


class Generator(nn.Module):
    """A cube with a cleared centre to the whole cube: down to a single voxel, and up again with skips.

    Args:
        width: Filters of the first layer; the others have 2, 4, 8 and 8 times as many, as published.
        deepest: No layer has more filters than this. Nearly all weights lie in the deep layers, and nearly all of
            the texture in the others, so a limit makes a small file at the least cost.
    """

    def __init__(self, width: int = WIDTH, deepest: int | None = None) -> None:
        super().__init__()
        filters = [min(width * factor, deepest or width * factor) for factor in GENERATOR]
        self.downs = nn.ModuleList(
            Down(before, after, norm=number > 0)
            for number, (before, after) in enumerate(zip([1, *filters], filters, strict=False))
        )
        skips = filters[-2::-1]
        inputs = [filters[-1], *(2 * count for count in skips)]
        self.ups = nn.ModuleList(Up(before, after) for before, after in zip(inputs, skips, strict=False))
        self.end = Enlarge(inputs[-1], 1)

    def forward(self, masked: Tensor) -> Tensor:
        """Normalised cubes (N, 1, 32, 32, 32), the hole set to 0, to cubes of the same shape in -1..1."""
        seen, x = [], masked
        for down in self.downs:
            x = down(x)
            seen.append(x)
        for up, skip in zip(self.ups, seen[-2::-1], strict=True):
            x = up(x, skip)
        return torch.tanh(self.end(x))


class Discriminator(nn.Module):
    """A cube and the masked cube that it should complete, to a map of 2 x 2 x 2 judgements, without a sigmoid."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        filters = [width * factor for factor in DISCRIMINATOR]
        self.downs = nn.Sequential(
            *[
                Down(before, after, norm=number > 0)
                for number, (before, after) in enumerate(zip([2, *filters], filters, strict=False))
            ]
        )
        self.end = _started(nn.Conv3d(filters[-1], 1, KERNEL))

    def forward(self, cube: Tensor, masked: Tensor) -> Tensor:
        """Two normalised cubes (N, 1, 32, 32, 32) to (N, 1, 2, 2, 2), 0 for real and 1 for made, as published."""
        out: Tensor = self.end(functional.pad(self.downs(torch.cat([cube, masked], dim=1)), (1, 2) * 3))
        return out


def _started(conv: nn.Conv3d) -> nn.Conv3d:
    """Glorot's uniform start and no bias, as Keras begins (Glorot and Bengio, AISTATS 2010, equation 16)."""
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
