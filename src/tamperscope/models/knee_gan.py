"""Networks of the knee GAN: a generator that starts from eigenpictures, and their coefficients as its latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.grain import Grain
from tamperscope.models.pixel_norm import pixel_norm

SIDE = 224
COARSE = 56
"""Side of the eigenpictures."""
FOLD = SIDE // COARSE


class Steered(nn.Module):
    """Two 3 x 3 convolutions round a skip, with grain, scaled and shifted by the latent."""

    def __init__(self, width: int, latent: int, grain: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.grain = nn.Conv2d(grain, width, 1)
        self.steer = nn.Linear(latent, 2 * width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, latent: Tensor, grain: Tensor) -> Tensor:
        """(N, C, h, w), (N, latent) and (N, grain, h, w) to (N, C, h, w)."""
        scale, shift = self.steer(latent)[:, :, None, None].chunk(2, dim=1)
        inner = pixel_norm(self.first(x)) * (1.0 + scale) + shift + self.grain(grain)
        inner = self.second(functional.leaky_relu(inner, 0.2))
        out: Tensor = functional.leaky_relu(x + inner, 0.2)
        return out


class Generator(nn.Module):
    """Noise (N, latent), grain (N, 1, 224, 224), both standard normal, and grades (N,) to pictures (N, 1, 224, 224).

    Each grade has a latent mean. A linear layer turns the latent into a coarse picture, and training starts where
    that layer holds the eigenpictures of the data (Turk and Pentland, J Cogn Neurosci 3:71, 1991). Convolutions at
    56, 28 and 14 pixels, steered by latent and grade as in StyleGAN (Karras et al., CVPR 2019) and in the skip-layer
    excitation of FastGAN (Liu et al., ICLR 2021), make a knee of it; the grain gives the texture of bone, which no
    latent can hold. Pixels are repeated on the way to 112 x 112, and a pixel shuffle (Shi et al., CVPR 2016) ends
    at 224 x 224. Bone is bright, -1 black and 1 white.
    """

    def __init__(self, grades: int, latent: int, widths: Sequence[int]) -> None:
        super().__init__()
        double, full, half, quarter = widths
        self.means = nn.Embedding(grades, latent)
        self.styles = nn.Embedding(grades, latent)
        self.start = nn.Linear(latent, COARSE * COARSE)
        self.stem = nn.Conv2d(1 + FOLD**2, full, 3, padding=1)
        self.to_half = nn.Conv2d(full, half, 2, stride=2)
        self.at_half = Steered(half, latent, 1)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.at_quarter = nn.ModuleList(Steered(quarter, latent, 1) for _ in range(2))
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.again_half = Steered(half, latent, 1)
        self.from_half = nn.Conv2d(half, full, 1)
        self.again_full = nn.ModuleList(Steered(full, latent, FOLD**2) for _ in range(2))
        self.to_double = nn.Conv2d(full, double, 1)
        self.at_double = Steered(double, latent, FOLD)
        self.last = nn.Conv2d(double, FOLD, 3, padding=1)
        self.grain = Grain(full)
        nn.init.zeros_(self.styles.weight)
        nn.init.normal_(self.last.weight, std=0.005)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, noise: Tensor, grain: Tensor, grades: Tensor) -> Tensor:
        """Pictures for noise round the mean of their grade."""
        return self.paint(noise + self.means(grades), grain, grades)

    def paint(self, latent: Tensor, grain: Tensor, grades: Tensor) -> Tensor:
        """Pictures of given latents."""
        coarse = self.start(latent).view(-1, 1, COARSE, COARSE)
        steer = latent + self.styles(grades)
        grains = [functional.pixel_unshuffle(grain, FOLD), functional.pixel_unshuffle(grain, FOLD // 2)]
        white = [functional.avg_pool2d(grain, side) * side for side in (2 * FOLD, 4 * FOLD)]
        full = functional.leaky_relu(self.stem(torch.cat([coarse, grains[0]], 1)), 0.2)
        half = self.at_half(functional.leaky_relu(self.to_half(full), 0.2), steer, white[0])
        x = functional.leaky_relu(self.to_quarter(half), 0.2)
        for level in self.at_quarter:
            x = level(x, steer, white[1])
        x = self.again_half(half + _twice(self.from_quarter(x)), steer, white[0])
        x = full + _twice(self.from_half(x))
        for level in self.again_full:
            x = level(x, steer, grains[0])
        texture = self.grain(x, grain)
        x = self.at_double(_twice(self.to_double(x)), steer, grains[1])
        smooth = functional.interpolate(coarse, scale_factor=float(FOLD), mode="bilinear")
        drawn: Tensor = smooth + functional.pixel_shuffle(self.last(x), 2) + texture
        return drawn


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Eigenpictures(nn.Module):
    """Pictures (N, 1, 224, 224) to their coefficients (N, latent), of unit variance over the data."""

    middle: Tensor
    rows: Tensor
    spread: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(COARSE * COARSE))
        self.register_buffer("rows", torch.zeros(latent, COARSE * COARSE))
        self.register_buffer("spread", torch.ones(latent))

    def fit(self, pictures: Tensor, grades: Tensor, net: Generator) -> None:
        """Find the principal components of ``pictures``, and start ``net`` from them and from the means of grades."""
        coarse = functional.avg_pool2d(pictures, FOLD).flatten(1)
        self.middle.copy_(coarse.mean(0))
        _, spread, rows = torch.linalg.svd(coarse - self.middle, full_matrices=False)
        found = min(self.spread.numel(), spread.numel())
        self.rows[:found].copy_(rows[:found])
        # Directions in which hardly anything varies would blow up what little the next picture shows of them.
        least = 1e-2 * spread[0]
        self.spread[:found].copy_(spread[:found].clamp(min=float(least)) / coarse.shape[0] ** 0.5)
        latents = self(pictures)
        with torch.no_grad():
            net.start.weight.copy_((self.rows * self.spread[:, None]).T)
            net.start.bias.copy_(self.middle)
            for grade in grades.unique():  # type: ignore[no-untyped-call]
                net.means.weight[grade] = latents[grades == grade].mean(0)

    def forward(self, pictures: Tensor) -> Tensor:
        """The coefficients."""
        coarse = functional.avg_pool2d(pictures, FOLD).flatten(1)
        return (coarse - self.middle) @ self.rows.T / self.spread


def generator(grades: int = 5, latent: int = 64, width: int = 16) -> Generator:
    """The generator with the numbers of the published weights; ``width`` scales it (4 suits a quick trial)."""
    return Generator(grades, latent, (width, 2 * width, 7 * width // 2, 4 * width))
