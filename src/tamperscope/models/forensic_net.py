"""ForensicNet: a picture and its noise residual side by side, to a map of what was changed and a verdict.

Built as the general forensic networks are. From ManTraNet (Wu et al., CVPR 2019): fixed and constrained high-pass
filters beside the picture. From TruFor (Guillaro et al., CVPR 2023): two streams that are fused, a decoder that
localises, and a score of the picture that is read off the decoder and its map. TruFor's learned noiseprint and its map
of confidence are left out; they need photographs of many cameras, and a training stage each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.trace_net import Residual, Stage, twice

STRIDE = 4
"""Pixels of the input that one value of the map stands for, along each axis."""
KERNEL = 5
CENTRE = KERNEL // 2
SRM = (
    # Square 3 x 3, square 5 x 5 and second order along rows (Fridrich and Kodovsky, IEEE TIFS 7(3), 2012, section
    # II.A): the three of the thirty that Zhou et al., CVPR 2018, and ManTraNet keep. Each is divided by its centre.
    (4.0, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12.0, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))),
    (2.0, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)


class FixedHighPass(nn.Module):
    """Residuals of each channel by three fixed filters: (N, C, H, W) to (N, 3C, H, W). Borders are mirrored."""

    kernels: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        bank = torch.stack([torch.tensor(kernel, dtype=torch.float32) / scale for scale, kernel in SRM])
        self.register_buffer("kernels", bank[:, None].repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mirrored = functional.pad(x, (CENTRE,) * 4, mode="reflect")
        return functional.conv2d(mirrored, self.kernels, groups=self.channels)


class ConstrainedConv(nn.Module):
    """Filters that predict a pixel from its neighbours, and give the error of that: (N, C, H, W) to (N, K, H, W).

    The centre of each kernel is -1 and the others sum to 1 (Bayar and Stamm, IH&MMSec 2016, equation 4). The paper
    divides by the sum after each step of training; here the same set of kernels is reached by adding one number to
    all neighbours, in every forward pass: the nearest kernel of that set, and safe where the sum passes zero.
    """

    neighbours: Tensor

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, KERNEL, KERNEL))
        nn.init.uniform_(self.weight, 0.0, 2.0 / (KERNEL**2 - 1))
        neighbours = torch.ones(KERNEL, KERNEL)
        neighbours[CENTRE, CENTRE] = 0.0
        self.register_buffer("neighbours", neighbours)

    def kernels(self) -> Tensor:
        """(K, C, 5, 5) that keep the constraint whatever the weights are."""
        free = self.weight * self.neighbours
        missing = (1.0 - free.sum((2, 3), keepdim=True)) / (KERNEL**2 - 1)
        return free + missing * self.neighbours - (1.0 - self.neighbours)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return functional.conv2d(functional.pad(x, (CENTRE,) * 4, mode="reflect"), self.kernels())


class Stream(nn.Module):
    """(N, C, H, W) to features (N, widths[2], H/4, W/4)."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        full, half, quarter = widths
        self.stem = nn.Sequential(nn.Conv2d(channels, full, 3, padding=1, bias=False), nn.BatchNorm2d(full), nn.ReLU())
        self.at_full = Residual(full)
        self.at_half = Stage(full, half, (1,))
        self.at_quarter = Stage(half, quarter, (1,))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.at_quarter(self.at_half(self.at_full(self.stem(x))))
        return features


class ForensicNet(nn.Module):
    """Pictures (N, C, H, W), H and W multiples of 16, to a map of logits (N, 1, H/4, W/4) and logits (N, 1).

    Args:
        channels: Of the pictures.
        constrained: Filters of the constrained convolution.
        widths: Channels at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution.
    """

    def __init__(self, channels: int, constrained: int, widths: Sequence[int]) -> None:
        super().__init__()
        *_, quarter, eighth, sixteenth = widths
        self.fixed = FixedHighPass(channels)
        self.constrained = ConstrainedConv(channels, constrained)
        self.picture = Stream(channels, widths[:3])
        self.residual = Stream(3 * channels + constrained, widths[:3])
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * quarter, quarter, 1, bias=False), nn.BatchNorm2d(quarter), nn.ReLU(), Residual(quarter)
        )
        self.at_eighth = Stage(quarter, eighth, (1, 1))
        self.at_sixteenth = Stage(eighth, sixteenth, (1, 2))
        self.from_sixteenth = nn.Conv2d(sixteenth, eighth, 1)
        self.again_eighth = Residual(eighth)
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.again_quarter = Residual(quarter)
        self.localise = nn.Conv2d(quarter, 1, 1)
        self.judge = nn.Linear(2 * quarter + 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        residual = torch.cat([self.fixed(x), self.constrained(x)], dim=1)
        quarter = self.fuse(torch.cat([self.picture(x), self.residual(residual)], dim=1))
        eighth = self.at_eighth(quarter)
        deep = self.from_sixteenth(self.at_sixteenth(eighth))
        deep = self.from_eighth(self.again_eighth(functional.relu(eighth + twice(deep))))
        decoded = self.again_quarter(functional.relu(quarter + twice(deep)))
        where: Tensor = self.localise(decoded)
        pooled = [part for features in (decoded, where) for part in (features.mean((2, 3)), features.amax((2, 3)))]
        return where, self.judge(torch.cat(pooled, dim=1))


def forensic_net(channels: int = 1, *, width: int = 16, constrained: int = 3) -> ForensicNet:
    """The network with the numbers of this module; ``width`` scales it (4 suits a quick trial).

    The last bias of the map starts at -3, so that training begins with "authentic" nearly everywhere.
    """
    net = ForensicNet(channels, constrained, (width, 2 * width, 4 * width, 6 * width, 8 * width))
    nn.init.constant_(net.localise.bias, -3.0)  # type: ignore[arg-type]
    return net
