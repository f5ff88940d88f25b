"""MilNet: a bag of native patches to one logit, and the weight of each patch in it; labels are needed of bags only.

After HexMIL (Pontorno et al., ACM MM 2026): patches of 64 native pixels, 32 apart, are embedded and pooled by gated
attention to a slice, and slices likewise to a volume. There, a ResNet-50 trained on slices and then frozen embeds the
patches, and slices carry their absolute z. Here a small network is trained together with the rest, any other can be
passed, and z is off unless asked for: it tells the anatomy, and forgeries are not spread evenly over that.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from tamperscope.models.attention import SpatialAttention

GROUPS = 8


class PatchEncoder(nn.Module):
    """Patches (M, C, h, w), sides multiples of 8, to features (M, features).

    Four convolutions, attention over places and the mean, as HexMIL ends its backbone. Groups are normalised, not
    batches: patches that do not exist must not count.
    """

    def __init__(self, channels: int, width: int, features: int) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            conv = nn.Conv2d(before, after, 3, stride=2 if number else 1, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(GROUPS, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, SpatialAttention())
        self.project = nn.Sequential(nn.Linear(widths[-1], features), nn.LayerNorm(features), nn.GELU())

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.project(self.layers(patches).mean((2, 3)))
        return features


class GatedAttention(nn.Module):
    """Pool instances by weights that they give themselves (Ilse et al., ICML 2018, equations 7 and 9)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.content = nn.Linear(features, hidden, bias=False)
        self.gate = nn.Linear(features, hidden, bias=False)
        self.weight = nn.Linear(hidden, 1, bias=False)

    def forward(self, instances: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        """Instances (N, P, F), of which bool (N, P) exist, to bags (N, F) and weights (N, P).

        Weights sum to 1; those of a bag without any instance are 0, and so is the bag.
        """
        asked = self.asked(instances)
        asked = asked.masked_fill(~exists, torch.finfo(asked.dtype).min)  # not -inf: a bag may be empty
        weights = torch.softmax(asked, dim=1) * exists
        return (weights[..., None] * instances).sum(1), weights

    def asked(self, instances: Tensor) -> Tensor:
        """The weight that each instance (..., F) asks for, before a softmax over its bag: (...)."""
        gated = torch.tanh(self.content(instances)) * torch.sigmoid(self.gate(instances))
        wanted: Tensor = self.weight(gated)[..., 0]
        return wanted


class MilNet(nn.Module):
    """Patches of the slices of a bag to its logit, and to the weight of each patch.

    Args:
        encoder: Patches (M, C, h, w) to features (M, features).
        features: Numbers that describe a patch.
        hidden: Units of the attention.
        slices: Slices of a bag. At 1 all patches are pooled at once, otherwise those of a slice first.
        position: Whether a slice knows its z. Needs two slices or more.
        outputs: Logits of a bag.
        dropout: In the head.
    """

    def __init__(
        self, encoder: nn.Module, features: int, hidden: int, slices: int, position: bool, outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self.slices = slices
        self.position = position
        self.encoder = encoder
        self.over_patches = GatedAttention(features, hidden)
        self.over_slices = GatedAttention(features, hidden) if slices > 1 else None
        self.head = nn.Sequential(
            nn.Linear(features, features), nn.GELU(), nn.Dropout(dropout), nn.Linear(features, outputs)
        )

    def forward(self, patches: Tensor, exists: Tensor, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (N, outputs) and weights (N, P), which sum to 1 in a bag: the product of those of patch and slice.

        Args:
            patches: (N, P, C, h, w) in native pixels, all patches of a slice one after the other, P a multiple of
                the slices. What does not exist holds any finite value.
            exists: bool (N, P).
            z: (N, slices) numbers of the slices; read only if ``position``.
        """
        return self.pool(self.encoder(patches.flatten(0, 1)).view(*exists.shape, -1), exists, z)

    def pool(self, features: Tensor, exists: Tensor, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same from the features (N, P, F) of the patches; what does not exist holds any finite value."""
        count, number = exists.shape
        instances = features.view(count * self.slices, number // self.slices, -1)
        present = exists.view(count * self.slices, -1)
        bags, weights = self.over_patches(instances, present)
        if self.over_slices is not None:
            bags = bags.view(count, self.slices, -1)
            if self.position and z is not None:
                bags = bags + _waves(z, bags.shape[-1])
            bags, shares = self.over_slices(bags, present.any(1).view(count, self.slices))
            weights = weights.view(count, self.slices, -1) * shares[..., None]
        logits: Tensor = self.head(bags)
        return logits, weights.view(count, number)


def _waves(z: Tensor, features: int) -> Tensor:
    """(N, S) slice numbers to sines and cosines (N, S, features) (Vaswani et al., NeurIPS 2017, section 3.5)."""
    powers = torch.arange(features // 2, dtype=torch.float32, device=z.device) / (features // 2)
    angles = z[..., None].float() * torch.exp(-math.log(10000.0) * powers)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


def mil_net(
    channels: int = 1,
    outputs: int = 1,
    *,
    slices: int = 1,
    position: bool = False,
    width: int = 16,
    features: int = 128,
    hidden: int = 64,
    dropout: float = 0.25,
) -> MilNet:
    """The network with the numbers of this module; ``width`` is a multiple of 8, ``features`` an even number."""
    return MilNet(PatchEncoder(channels, width, features), features, hidden, slices, position, outputs, dropout)
