"""PatchNet: a picture as patches that do not overlap, each embedded alone, then weighed against each other.

After Arshed et al., A deep learning model for detecting fake medical images to mitigate financial insurance fraud,
Computation 12(9):173, 2024, who set patch-based networks against convolutional ones. Their patch-based network is a
vision transformer (Dosovitskiy et al., ICLR 2021) with weights from ImageNet. What they leave open, or what cannot
stand without those weights, was chosen here: patches of 16 of 224 pixels; a small convolutional network shared by all
patches in place of the linear embedding, which learns from fewer pictures (Xiao et al., Early Convolutions Help
Transformers See Better, NeurIPS 2021); the mean of the tokens in place of a class token; a width and depth for
training from scratch. Nothing but the attention mixes patches: at depth 0 the picture is a bag of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 224
PATCH = 16
GROUPS = 8


class Embedding(nn.Module):
    """Patches (M, C, p, p), p a multiple of 4, to tokens (M, width). Groups are normalised: a patch stays alone."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width // 2),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        grid: Tensor = self.layers(patches)
        return grid.mean((2, 3))


class Encoder(nn.Module):
    """Self-attention and a perceptron, each behind a norm and round a skip (Dosovitskiy et al., equations 2 and 3)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm = nn.LayerNorm(width)
        self.asked = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, P, width) to the same shape."""
        tokens = tokens + self.dropout(self._attend(self.first_norm(tokens)))
        out: Tensor = tokens + self.dropout(self.perceptron(self.second_norm(tokens)))
        return out

    def _attend(self, tokens: Tensor) -> Tensor:
        count, places, width = tokens.shape
        split = self.asked(tokens).view(count, places, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.joined(mixed.transpose(1, 2).reshape(count, places, width))
        return out


class PatchNet(nn.Module):
    """Pictures (N, C, side, side) to logits (N, outputs)."""

    def __init__(
        self, embedding: nn.Module, encoders: nn.ModuleList, width: int, places: int, patch: int, outputs: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.embedding = embedding
        self.places = nn.Parameter(torch.zeros(1, places, width))
        self.encoders = encoders
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.places, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        patches = cut(x, self.patch)
        count, places = patches.shape[:2]
        tokens = self.embedding(patches.flatten(0, 1)).view(count, places, -1) + self.places
        for encoder in self.encoders:
            tokens = encoder(tokens)
        logits: Tensor = self.head(self.norm(tokens).mean(1))
        return logits


def cut(x: Tensor, patch: int) -> Tensor:
    """Pictures (N, C, H, W), H and W multiples of ``patch``, to patches (N, P, C, patch, patch), row by row."""
    count, channels, height, width = x.shape
    grid = x.view(count, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels, patch, patch)


def patch_net(
    channels: int = 1,
    outputs: int = 1,
    *,
    side: int = SIDE,
    patch: int = PATCH,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    dropout: float = 0.1,
) -> PatchNet:
    """The network with the numbers of this module; ``side`` is a multiple of ``patch``, ``width`` one of 16."""
    encoders = nn.ModuleList(Encoder(width, heads, dropout) for _ in range(depth))
    return PatchNet(Embedding(channels, width), encoders, width, (side // patch) ** 2, patch, outputs)
