"""The generator of the Jekyll-type translation: what to add to a knee, and where, to bring it into the other class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.pixel_norm import pixel_norm

SIDE = 224
FOLD = 4
CLASSES = 2
"""0: healthy, grades 0 and 1 of Kellgren and Lawrence; 1: diseased, grades 3 and 4."""
JOINT = 120
"""Row of the joint space in the middle of the data's pictures."""
REACH = (44, 84)
"""Rows above and below it that may change fully, and beyond which nothing changes."""


class Told(nn.Module):
    """Two 3 x 3 convolutions round a skip, scaled and shifted by the class (Perez et al., FiLM, AAAI 2018)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.scale = nn.Embedding(classes, width)
        self.shift = nn.Embedding(classes, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(self.scale.weight, std=0.1)
        nn.init.normal_(self.shift.weight, std=0.5)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """(N, C, h, w) and (N,) to (N, C, h, w)."""
        scale, shift = (held(classes)[:, :, None, None] for held in (self.scale, self.shift))
        inner = functional.leaky_relu(pixel_norm(self.first(x)) * (1.0 + scale) + shift, 0.2)
        out: Tensor = functional.leaky_relu(x + self.second(inner), 0.2)
        return out


class Translator(nn.Module):
    """Pictures (N, 1, 224, 224) in -1..1 and wanted classes (N,) to what is to be added, (N, 1, 224, 224).

    The change is zero far from the joint, so that the rest of the picture, and with it the patient, stays. The skips
    are those of a U-Net (Ronneberger et al., MICCAI 2015). From 56 to 224 pixels features are interpolated and then
    convolved: a pixel shuffle draws a chessboard into the joint (Odena et al., Deconvolution and Checkerboard
    Artifacts, Distill 2016), where there is little texture to hide it.
    """

    envelope: Tensor

    def __init__(self, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        full, half, quarter = widths
        self.stem = nn.Conv2d(FOLD**2, full, 3, padding=1)
        self.at_full = Told(full, classes)
        self.to_half = nn.Conv2d(full, half, 4, stride=2, padding=1)
        self.at_half = Told(half, classes)
        self.to_quarter = nn.Conv2d(half, quarter, 4, stride=2, padding=1)
        self.at_quarter = nn.ModuleList(Told(quarter, classes) for _ in range(2))
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.again_half = Told(half, classes)
        self.from_half = nn.Conv2d(half, full, 1)
        self.again_full = Told(full, classes)
        self.at_double = nn.Conv2d(full, full // 2, 3, padding=1)
        self.last = nn.Conv2d(full // 2, 1, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.005)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        rows = (torch.arange(SIDE) - JOINT).abs().float()
        falls = ((REACH[1] - rows) / (REACH[1] - REACH[0])).clamp(0.0, 1.0)
        self.register_buffer("envelope", falls[None, None, :, None], persistent=False)

    def forward(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """What is to be added."""
        full = functional.leaky_relu(self.stem(functional.pixel_unshuffle(pictures, FOLD)), 0.2)
        full = self.at_full(full, classes)
        half = self.at_half(functional.leaky_relu(self.to_half(full), 0.2), classes)
        x = functional.leaky_relu(self.to_quarter(half), 0.2)
        for level in self.at_quarter:
            x = level(x, classes)
        x = self.again_half(half + _twice(self.from_quarter(x)), classes)
        x = self.again_full(full + _twice(self.from_half(x)), classes)
        x = functional.leaky_relu(self.at_double(_twice(x)), 0.2)
        return torch.tanh(self.last(_twice(x))) * self.envelope


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear")


def translator(width: int = 16) -> Translator:
    """The network with the numbers of the published weights; ``width`` scales it (4 suits a quick trial)."""
    return Translator(CLASSES, (2 * width, 4 * width, 5 * width))
