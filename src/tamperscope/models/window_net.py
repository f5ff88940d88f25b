"""WindowNet: separable convolutions with short cuts as in Xception, and attention, on windows of 32 x 32 pixels.

The first stage of Zhang et al., GAN-based medical image small region forgery detection via a two-stage cascade
framework, PLOS ONE 2024, who take Xception (Chollet, CVPR 2017) with attention over places and channels. This is a
small one: three of its blocks, at a few dozen channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from tamperscope.models.attention import Cbam

SIDE = 32
"""Pixels a side of a window, as published."""


class WindowNet(nn.Module):
    """Windows (N, 1, 32, 32) to logits (N, 1)."""

    def __init__(self, width: int, dropout: float, *, channel: bool, spatial: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            _Block(width, 2 * width), _Block(2 * width, 4 * width), _Block(4 * width, 4 * width)
        )
        self.attention = Cbam(4 * width, channel=channel, spatial=spatial)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.head(self.attention(self.blocks(self.stem(x))).mean((2, 3)))
        return logits


class _Block(nn.Module):
    """Two separable convolutions beside a short cut: (N, before, H, W) to (N, after, H/2, W/2)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            *_separable(before, after), nn.ReLU(), *_separable(after, after), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.cut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = (self.way(x) + self.cut(x)).relu()
        return out


def _separable(before: int, after: int) -> tuple[nn.Module, ...]:
    """A 3 x 3 convolution of each channel alone, then one across channels."""
    deep = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
    return deep, nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)


def window_net(
    width: int = 16, *, dropout: float = 0.3, channel_attention: bool = True, spatial_attention: bool = True
) -> WindowNet:
    """The network with the numbers of this module; ``width`` are the channels of the first layer."""
    return WindowNet(width, dropout, channel=channel_attention, spatial=spatial_attention)
