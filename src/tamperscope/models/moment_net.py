"""MomentNet: local energies of learned filters on the noise, then a small network that compares places by them.

What tampering leaves in CT is noise of another strength and another texture. Both are second moments: the energy of the
residual in each band, averaged over a neighbourhood. Computed as such at a quarter of the resolution, they leave the
convolutions little to do at full resolution, where the time of `trace_net` goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.attention import Cbam
from tamperscope.models.trace_net import Residual, Stage, twice

STRIDE = 4
"""Pixels of the input that one value of the output stands for, along each axis."""
KERNEL = 5
WINDOW = 6
"""Filter responses a side, two pixels apart, that one energy is the mean of."""
LARGEST = 4.0
"""Strengths of the slice's noise from which a response counts as an edge: its square flattens out there."""
RELATIVE = 2.0
"""From the channel of the relative residual to strengths of the noise (`preprocess.channels`)."""


def cosines() -> Tensor:
    """The 24 zero-mean basis functions of the 5 x 5 cosine transform, each of norm 1: (24, 1, 5, 5)."""
    order = torch.arange(KERNEL, dtype=torch.float32)
    base = torch.cos(math.pi * order[:, None] * (order[None] + 0.5) / KERNEL) * math.sqrt(2.0 / KERNEL)
    base[0] /= math.sqrt(2.0)
    return torch.einsum("ui,vj->uvij", base, base).reshape(-1, 1, KERNEL, KERNEL)[1:].clone()


class Moments(nn.Module):
    """Residuals in strengths of the noise (N, 1, H, W) to logarithms of energies and magnitudes (N, 48, H/4, W/4).

    The filters start as `cosines` and stay free of a mean. The quotient of energy and squared magnitude tells how
    heavy the tails are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Parameter(cosines())
        self.norm = nn.BatchNorm2d(2 * len(self.filters))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        filters = self.filters - self.filters.mean((2, 3), keepdim=True)
        square = functional.conv2d(x, filters, stride=2, padding=KERNEL // 2).square()
        square = square / (1.0 + square / LARGEST**2)
        magnitude = (square + 1e-6).sqrt()
        energy, mean = (
            functional.avg_pool2d(one, WINDOW, 2, WINDOW // 2 - 1, count_include_pad=False)
            for one in (square, magnitude)
        )
        normed: Tensor = self.norm(torch.cat([torch.log(energy + 1e-2), torch.log(mean + 1e-1)], dim=1))
        return normed


class MomentNet(nn.Module):
    """Channels (N, 3, H, W) of `preprocess.channels`, H and W multiples of 16, to logits (N, 1, H/4, W/4).

    Args:
        tissue: Features that see the picture itself: which tissue the noise is of.
        widths: Channels at 1/4, 1/8 and 1/16 of the resolution.
        channel_attention: Whether the deepest stage weighs its channels by the whole picture (`attention.Cbam`).
        spatial_attention: Whether it weighs its places.
    """

    def __init__(
        self, tissue: int, widths: Sequence[int], *, channel_attention: bool = True, spatial_attention: bool = True
    ) -> None:
        super().__init__()
        quarter, eighth, sixteenth = widths
        self.moments = Moments()
        self.picture = nn.Sequential(
            nn.Conv2d(3, 12, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            Stage(12, tissue, (1,)),
        )
        seen = self.moments.norm.num_features + tissue + 3
        self.join = nn.Sequential(
            nn.Conv2d(seen, quarter, 1, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            Residual(quarter),
            Residual(quarter),
        )
        self.at_eighth = Stage(quarter, eighth, (1, 2))
        self.at_sixteenth = Stage(eighth, sixteenth, (1, 2))
        self.attend = Cbam(sixteenth, channel=channel_attention, spatial=spatial_attention)
        self.from_sixteenth = nn.Conv2d(sixteenth, eighth, 1)
        self.again_eighth = Residual(eighth)
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.again_quarter = Residual(quarter)
        self.head = nn.Conv2d(quarter, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to logits (N, 1, H/4, W/4)."""
        picture, absolute, relative = x[:, :1], x[:, 1:2], x[:, 2:3]
        mean = functional.avg_pool2d(picture, STRIDE)
        strengths = [torch.log(functional.avg_pool2d(one.square(), STRIDE) + 1e-3) for one in (absolute, relative)]
        seen = torch.cat([self.moments(RELATIVE * relative), self.picture(x), mean, *strengths], dim=1)
        quarter = self.join(seen)
        eighth = self.at_eighth(quarter)
        deep = self.from_sixteenth(self.attend(self.at_sixteenth(eighth)))
        deep = self.from_eighth(self.again_eighth(functional.relu(eighth + twice(deep))))
        logits: Tensor = self.head(self.again_quarter(functional.relu(quarter + twice(deep))))
        return logits


def moment_net(width: int = 40, *, channel_attention: bool = True, spatial_attention: bool = True) -> MomentNet:
    """The network with the numbers of its recipe in experiments/ct_local; ``width`` scales it (8 suits a quick trial).

    The last bias starts at -3, so that training begins with "authentic" nearly everywhere.
    """
    net = MomentNet(
        max(4, width * 2 // 5),
        (width, width * 8 // 5, width * 12 // 5),
        channel_attention=channel_attention,
        spatial_attention=spatial_attention,
    )
    nn.init.constant_(net.head.bias, -3.0)  # type: ignore[arg-type]
    return net
