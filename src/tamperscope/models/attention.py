"""CBAM: attention over channels, then over places (Woo et al., ECCV 2018); each part can be switched off."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCTION = 16
"""Channels per hidden unit, as published."""
KERNEL = 7
"""Pixels a side that the attention over places sees, as published."""


class ChannelAttention(nn.Module):
    """Scale each channel by what the mean and the maximum over the places say of it (equation 2).

    Both pass through one perceptron without biases; its hidden layer has a sixteenth of the channels, 4 at least.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // REDUCTION, 4)
        self.first = nn.Linear(width, hidden, bias=False)
        self.second = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        asked = [self.second(functional.relu(self.first(pooled))) for pooled in (x.mean((2, 3)), x.amax((2, 3)))]
        return x * torch.sigmoid(asked[0] + asked[1])[:, :, None, None]


class SpatialAttention(nn.Module):
    """Scale each place by what the mean and the maximum over the channels say of its surroundings (equation 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(seen))


class Cbam(nn.Module):
    """Attention over channels, then over places (equation 1). A part that is off changes nothing and learns nothing."""

    def __init__(self, width: int, *, channel: bool = True, spatial: bool = True) -> None:
        super().__init__()
        self.channel = ChannelAttention(width) if channel else nn.Identity()
        self.spatial = SpatialAttention() if spatial else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = self.spatial(self.channel(x))
        return out
