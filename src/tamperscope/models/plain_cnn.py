"""PlainCnn: convolutions and pooling in turn, a dense layer, logits: what a picture network must at least beat."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

SIDE = 224
"""Pixels a side, as the paper has it."""
WIDTHS = (1, 2, 4, 8, 8)
"""Channels of each block, in widths. The paper gives no numbers; five blocks leave 7 x 7 places of 224 pixels."""
DENSE = 128


class PlainCnn(nn.Module):
    """Pictures (N, channels, side, side), ``side`` a multiple of 32, to logits (N, outputs)."""

    def __init__(self, channels: int, outputs: int, side: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [channels, *(factor * width for factor in WIDTHS)]
        self.blocks = nn.Sequential(*[_block(before, after) for before, after in pairwise(widths)])
        places = (side // 2 ** len(WIDTHS)) ** 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(places * widths[-1], DENSE),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(DENSE, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.head(self.blocks(x))
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    """(N, before, H, W) to (N, after, H/2, W/2)."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def plain_cnn(
    channels: int = 1, outputs: int = 1, *, side: int = SIDE, width: int = 16, dropout: float = 0.5
) -> PlainCnn:
    """The plain network; ``width`` scales it (4 suits a quick trial). Weights start after He et al., ICCV 2015."""
    net = PlainCnn(channels, outputs, side, width, dropout)
    for part in net.blocks.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    return net
