"""FeatureNet: three hidden layers over 24 numbers of a picture (Alheeti et al., CDMA 2022).

The source gives the number of features and of layers, and neither the features nor the units. The features chosen
here are those of `evaluate.texture_features`; the units halve from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FEATURES = 24
HIDDEN = (64, 32, 16)


class FeatureNet(nn.Module):
    """Features (N, F), in any unit, to logits (N, outputs). They are brought to mean 0 and deviation 1 first."""

    middle: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: Sequence[int], outputs: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        layers: list[nn.Module] = []
        for before, after in zip((features, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def fit(self, features: Tensor) -> None:
        """Take mean and deviation of the features (M, F) of the training data; one that never varies is left alone."""
        spread = features.std(0, correction=0)
        self.middle.copy_(features.mean(0))
        self.spread.copy_(torch.where(spread > 0.0, spread, torch.ones_like(spread)))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.layers((features - self.middle) / self.spread)
        return logits


def feature_net(
    features: int = FEATURES, outputs: int = 1, *, hidden: Sequence[int] = HIDDEN, dropout: float = 0.2
) -> FeatureNet:
    """The network with the numbers of this module."""
    return FeatureNet(features, hidden, outputs, dropout)
