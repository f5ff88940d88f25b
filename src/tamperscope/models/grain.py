"""Texture of bone from white noise: coloured by filters, its strength set place by place."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

BANDS = 4
REACH = 4
"""Pixels to each side that a filter sees."""


class Grain(nn.Module):
    """Features (N, C, h, w) and white noise (N, 1, H, W) to texture (N, 1, H, W): filtered noise, locally scaled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Conv2d(1, BANDS, 2 * REACH + 1, padding=REACH, bias=False)
        self.strength = nn.Conv2d(width, BANDS, 1)
        nn.init.constant_(self.strength.bias, 0.02)  # type: ignore[arg-type]

    def forward(self, features: Tensor, white: Tensor) -> Tensor:
        """The texture."""
        strength = functional.interpolate(self.strength(features), size=white.shape[2:], mode="bilinear")
        texture: Tensor = (self.colour(white) * strength).sum(1, keepdim=True)
        return texture
