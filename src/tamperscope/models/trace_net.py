"""TraceNet: a small residual encoder with a light decoder, fully convolutional, for traces in native pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4
"""Pixels of the input that one value of the output stands for, along each axis."""


def twice(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, 2H, 2W): each value becomes four."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch norm round a skip (He et al., CVPR 2016); ``dilation`` in pixels."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


class Stage(nn.Module):
    """Halve the grid, widen, then residual blocks."""

    def __init__(self, before: int, after: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.blocks = nn.Sequential(*[Residual(after, dilation) for dilation in dilations])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H/2, W/2)."""
        out: Tensor = self.blocks(functional.relu(self.norm(self.down(x))))
        return out


class TraceNet(nn.Module):
    """Channels (N, 3, H, W) of `preprocess.channels`, H and W multiples of 8, to logits (N, 1, H/4, W/4).

    Full resolution is kept for the first blocks, where the noise is read; the deepest stage sees about 150 pixels
    through dilated convolutions; its answer is added to the features at a quarter of the resolution.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        full, half, quarter, eighth = widths
        self.stem = nn.Sequential(nn.Conv2d(channels, full, 3, padding=1, bias=False), nn.BatchNorm2d(full), nn.ReLU())
        self.at_full = nn.Sequential(Residual(full), Residual(full))
        self.at_half = Stage(full, half, (1, 1))
        self.at_quarter = Stage(half, quarter, (1, 1))
        self.at_eighth = Stage(quarter, eighth, (1, 2, 4, 2))
        self.lateral = nn.Conv2d(quarter, quarter, 1)
        self.descend = nn.Conv2d(eighth, quarter, 1)
        self.merge = Residual(quarter)
        self.head = nn.Conv2d(quarter, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to logits (N, 1, H/4, W/4)."""
        quarter = self.at_quarter(self.at_half(self.at_full(self.stem(x))))
        deep = twice(self.descend(self.at_eighth(quarter)))
        logits: Tensor = self.head(self.merge(functional.relu(self.lateral(quarter) + deep)))
        return logits


def trace_net(width: int = 16, channels: int = 3) -> TraceNet:
    """The network with the numbers of the published weights; ``width`` scales it (8 suits a quick trial).

    The last bias starts at -3, so that training begins with "authentic" nearly everywhere.
    """
    net = TraceNet(channels, (width, 3 * width, 6 * width, 12 * width))
    if net.head.bias is not None:
        nn.init.constant_(net.head.bias, -3.0)
    return net
