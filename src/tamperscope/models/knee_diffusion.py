"""Networks of the knee diffusion model: a denoiser of coarse pictures, and a decoder to 224 pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamperscope.models.grain import Grain
from tamperscope.models.pixel_norm import pixel_norm

SIDE = 224
COARSE = 56
FOLD = SIDE // COARSE
HALF = math.pi / 2
GROUPS = 8
"""Of channels, for normalisation."""


class Timed(nn.Module):
    """Two 3 x 3 convolutions round a skip, scaled and shifted by time and grade (Dhariwal and Nichol, NeurIPS 2021)."""

    def __init__(self, before: int, after: int, steer: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(GROUPS, before)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.steer = nn.Linear(steer, 2 * after)
        self.second_norm = nn.GroupNorm(GROUPS, after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        """(N, C, h, w) and (N, steer) to (N, C', h, w)."""
        inner = self.first(functional.silu(self.first_norm(x)))
        scale, shift = self.steer(steer)[:, :, None, None].chunk(2, dim=1)
        inner = self.second_norm(inner) * (1.0 + scale) + shift
        out: Tensor = self.skip(x) + self.second(functional.silu(inner))
        return out


class Gaussian(nn.Module):
    """The best linear denoiser: what is known of a coarse picture if pictures were normally distributed.

    Principal components of the data hold the variances in ``powers``, all other directions ``rest`` alike (Tipping
    and Bishop, Probabilistic Principal Component Analysis, J R Stat Soc B 61, 1999, equation 7); each grade has a
    mean of its own, the last row is that of all.
    """

    middle: Tensor
    rows: Tensor
    powers: Tensor
    rest: Tensor
    means: Tensor

    def __init__(self, grades: int, components: int) -> None:
        super().__init__()
        pixels = COARSE * COARSE
        self.register_buffer("middle", torch.zeros(pixels))
        self.register_buffer("rows", torch.zeros(components, pixels))
        self.register_buffer("powers", torch.ones(components))
        self.register_buffer("rest", torch.ones(1))
        self.register_buffer("means", torch.zeros(grades + 1, components))

    def fit(self, coarse: Tensor, grades: Tensor) -> None:
        """Take the components from coarse pictures (M, 1, 56, 56) of grades (M,)."""
        flat = coarse.flatten(1)
        self.middle.copy_(flat.mean(0))
        _, spread, rows = torch.linalg.svd(flat - self.middle, full_matrices=False)
        powers = spread**2 / flat.shape[0]
        found = min(self.powers.numel(), powers.numel())
        self.rows[:found].copy_(rows[:found])
        self.powers[:found].copy_(powers[:found])
        self.rest.fill_(float(powers[found:].sum()) / (flat.shape[1] - found) + 1e-6)
        for grade in grades.unique():  # type: ignore[no-untyped-call]
            self.means[grade].copy_((flat[grades == grade].mean(0) - self.middle) @ self.rows.T)

    def forward(self, noisy: Tensor, ratio: Tensor, grades: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures under noise of variance ``ratio`` (N, 1) to their estimates, and what remains open.

        Returns:
            Estimates (N, 1, 56, 56), and the standard deviation (N, 1, 1, 1) of what they miss, mean over pixels.
        """
        offset = noisy.flatten(1) - self.middle
        means = self.means[grades]
        found = offset @ self.rows.T
        kept = self.powers / (self.powers + ratio)
        rest = self.rest / (self.rest + ratio)
        known = rest * (offset - found @ self.rows) + (means + kept * (found - means)) @ self.rows
        pixels = self.middle.numel()
        open_ = (kept * ratio).sum(1, keepdim=True) + rest * ratio * (pixels - self.powers.numel())
        return (self.middle + known).view(-1, 1, COARSE, COARSE), (open_ / pixels).sqrt()[:, :, None, None]


class Denoiser(nn.Module):
    """Noisy pictures (N, 1, 56, 56), times (N,) in 0..1 and grades (N,) to pictures without noise, in -1..1.

    At time t a picture x0 has become cos(pi t / 2) x0 + sin(pi t / 2) noise, the cosine schedule of Nichol and
    Dhariwal (ICML 2021) in the continuous form of Salimans and Ho (ICLR 2022). The network adds to the best linear
    estimate what that one misses, in units of its error, so that little is left to learn where the noise is strong.
    Grade ``grades`` means that none is known.
    """

    def __init__(self, grades: int, components: int, widths: Sequence[int], steer: int) -> None:
        super().__init__()
        full, half, quarter = widths
        self.gaussian = Gaussian(grades, components)
        self.grade = nn.Embedding(grades + 1, steer)
        self.clock = nn.Sequential(nn.Linear(32, steer), nn.SiLU(), nn.Linear(steer, steer))
        self.stem = nn.Conv2d(10, full, 3, padding=1)
        self.at_full = Timed(full, full, steer)
        self.to_half = nn.Conv2d(full, half, 2, stride=2)
        self.at_half = Timed(half, half, steer)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.at_quarter = Timed(quarter, quarter, steer)
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.again_half = Timed(half, half, steer)
        self.from_half = nn.Conv2d(half, full, 1)
        self.again_full = Timed(full, full, steer)
        self.norm = nn.GroupNorm(GROUPS, full)
        self.last = nn.Conv2d(full, 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        line = torch.linspace(-1.0, 1.0, COARSE // 2)
        self.register_buffer("places", torch.stack(torch.meshgrid(line, line, indexing="ij")), persistent=False)

    places: Tensor

    def forward(self, noisy: Tensor, times: Tensor, grades: Tensor) -> Tensor:
        """The estimates."""
        guess, error = self.known(noisy, times, grades)
        return guess + error * self.missed(noisy, guess, times, grades)

    def known(self, noisy: Tensor, times: Tensor, grades: Tensor) -> tuple[Tensor, Tensor]:
        """The linear estimates (N, 1, 56, 56) and the standard deviation (N, 1, 1, 1) of their errors."""
        signal, noise = torch.cos(HALF * times)[:, None].clamp(min=1e-3), torch.sin(HALF * times)[:, None]
        estimate: tuple[Tensor, Tensor] = self.gaussian(noisy / signal[:, :, None, None], (noise / signal) ** 2, grades)
        return estimate

    def missed(self, noisy: Tensor, guess: Tensor, times: Tensor, grades: Tensor) -> Tensor:
        """What the linear estimates ``guess`` miss, in units of their error."""
        steer = functional.silu(self.clock(_waves(times)) + self.grade(grades))
        places = self.places.expand(noisy.shape[0], -1, -1, -1)
        seen = [functional.pixel_unshuffle(noisy, 2), functional.pixel_unshuffle(guess * 2.0, 2), places]
        full = self.at_full(self.stem(torch.cat(seen, 1)), steer)
        half = self.at_half(self.to_half(full), steer)
        quarter = self.at_quarter(self.to_quarter(half), steer)
        half = self.again_half(half + _twice(self.from_quarter(quarter)), steer)
        full = self.again_full(full + _twice(self.from_half(half)), steer)
        return functional.pixel_shuffle(self.last(functional.silu(self.norm(full))), 2)


def _waves(times: Tensor) -> Tensor:
    """Times (N,) to 32 sines and cosines (Vaswani et al., NeurIPS 2017), from a quarter turn to 64 turns."""
    turns = 2.0 ** torch.linspace(-2.0, 6.0, 16, device=times.device) * (2.0 * math.pi)
    angles = times[:, None] * turns
    return torch.cat([angles.sin(), angles.cos()], 1)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Grained(nn.Module):
    """Two 3 x 3 convolutions round a skip, with grain in between."""

    def __init__(self, width: int, grain: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.grain = nn.Conv2d(grain, width, 1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, grain: Tensor) -> Tensor:
        """(N, C, h, w) and (N, grain, h, w) to (N, C, h, w)."""
        inner = functional.leaky_relu(pixel_norm(self.first(x)) + self.grain(grain), 0.2)
        out: Tensor = functional.leaky_relu(x + self.second(inner), 0.2)
        return out


class Decoder(nn.Module):
    """Coarse pictures (N, 1, 56, 56) and grain (N, 1, 224, 224), standard normal, to pictures (N, 1, 224, 224).

    All convolutions work at 56 and 28 pixels; one pixel shuffle by four makes the fine grid (Shi et al., CVPR 2016).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        full, half = widths
        self.stem = nn.Conv2d(1 + FOLD**2, full, 3, padding=1)
        self.at_full = Grained(full, FOLD**2)
        self.to_half = nn.Conv2d(full, half, 4, stride=2, padding=1)
        self.at_half = nn.ModuleList(Grained(half, 1) for _ in range(2))
        self.from_half = nn.Conv2d(half, full, 1)
        self.again_full = nn.ModuleList(Grained(full, FOLD**2) for _ in range(2))
        self.last = nn.Conv2d(full, FOLD**2, 3, padding=1)
        self.grain = Grain(full)
        nn.init.normal_(self.last.weight, std=0.005)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, coarse: Tensor, grain: Tensor) -> Tensor:
        """The pictures."""
        folded = functional.pixel_unshuffle(grain, FOLD)
        white = functional.avg_pool2d(grain, 2 * FOLD) * (2 * FOLD)
        full = self.at_full(functional.leaky_relu(self.stem(torch.cat([coarse, folded], 1)), 0.2), folded)
        half = functional.leaky_relu(self.to_half(full), 0.2)
        for level in self.at_half:
            half = level(half, white)
        full = full + _twice(self.from_half(half))
        for level in self.again_full:
            full = level(full, folded)
        smooth = functional.interpolate(coarse, scale_factor=float(FOLD), mode="bilinear")
        drawn: Tensor = smooth + functional.pixel_shuffle(self.last(full), FOLD) + self.grain(full, grain)
        return drawn


def denoiser(grades: int = 5, width: int = 16) -> Denoiser:
    """The denoiser with the numbers of the published weights; ``width`` scales it (8 suits a quick trial)."""
    return Denoiser(grades, 3 * width, (4 * width, 4 * width, 4 * width), 3 * width)


def decoder(width: int = 16) -> Decoder:
    """The decoder with the numbers of the published weights."""
    return Decoder((3 * width, 4 * width))
