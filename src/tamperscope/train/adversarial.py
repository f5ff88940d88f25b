"""What training against a critic shares: the opponent, likeness to an original, and augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from tamperscope.models.critic import Critic

CLIP = 5.0
"""Largest norm of a gradient."""
REACH = 1 / 8
"""Of a side, for translations."""
HOLE = 1 / 3
"""Of a side, for the square that is cut out."""


class Opponent:
    """A critic with its optimiser, under the hinge loss (Lim and Ye, Geometric GAN, arXiv 1705.02894)."""

    def __init__(self, grades: int, width: int, rate: float) -> None:
        self.critic = Critic(grades, (width, 2 * width, 4 * width, 6 * width))
        self.optimiser = Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.99))

    def judge(
        self, pictures: Tensor, grades: Tensor, rng: np.random.Generator, copies: int = 1
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Scores and features of ``pictures`` as a maker may learn from them; the critic learns nothing.

        ``copies`` groups of pictures are augmented alike, so that their features can be compared.
        """
        self.critic.requires_grad_(requires_grad=False)
        with torch.autocast(pictures.device.type, torch.bfloat16):
            scores, features = self.critic(diff_augment(pictures, rng, copies), grades)
        self.critic.requires_grad_(requires_grad=True)
        return [score.float() for score in scores], [feature.float() for feature in features]

    def learn(self, pictures: Tensor, grades: Tensor, real: int, rng: np.random.Generator) -> float:
        """One step of the critic; the first ``real`` pictures are real ones of their grade. Returns its loss."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            scores, _ = self.critic(diff_augment(pictures, rng), grades)
        loss = torch.stack(
            [
                functional.relu(1.0 - score[:real].float()).mean() + functional.relu(1.0 + score[real:].float()).mean()
                for score in scores
            ]
        ).mean()
        descend(self.optimiser, loss)
        return float(loss.detach())


def pleasing(scores: Sequence[Tensor]) -> Tensor:
    """What a maker loses: the less, the more real its pictures look to the critic."""
    return -torch.stack([score.mean() for score in scores]).mean()


def descend(optimiser: Optimizer, loss: Tensor) -> None:
    """One step down the gradient of ``loss``, which is clipped."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([held for group in optimiser.param_groups for held in group["params"]], CLIP)
    optimiser.step()


# --- likeness ---


@dataclass(frozen=True, slots=True)
class Likeness:
    """Weights of the ways in which a painted picture shall be like its original."""

    coarse: float = 6.0
    """Mean absolute difference at a quarter of the resolution."""
    fine: float = 1.0
    """The same at full resolution, where the grain cannot be the same."""
    texture: float = 5.0
    """Difference of the strength of details."""
    features: float = 1.0
    """Difference of the critic's features (Larsen et al., ICML 2016)."""

    def loss(
        self, made: Tensor, real: Tensor, made_features: Sequence[Tensor], real_features: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Weighted sum for pictures (N, 1, H, W), and each difference by name."""
        differences = {
            "coarse": functional.l1_loss(functional.avg_pool2d(made, 4), functional.avg_pool2d(real, 4)),
            "fine": functional.l1_loss(made, real),
            "texture": _mean_difference(texture(made), texture(real)),
            "features": _mean_difference(made_features, real_features),
        }
        total = torch.stack([getattr(self, name) * value for name, value in differences.items()]).sum()
        return total, {name: float(value.detach()) for name, value in differences.items()}


def texture(pictures: Tensor) -> list[Tensor]:
    """Strength of the details in cells of 16 pixels: root mean squares of the Haar bands of two levels.

    It is what random texture has in common with its original, though no pixel agrees.
    """
    found = []
    for cells in (8, 4):
        top, bottom = pictures[..., ::2, :], pictures[..., 1::2, :]
        both, apart = top + bottom, top - bottom
        left, right = slice(None, None, 2), slice(1, None, 2)
        bands = (
            both[..., left] - both[..., right],
            apart[..., left] + apart[..., right],
            apart[..., left] - apart[..., right],
        )
        found += [(functional.avg_pool2d(band**2, cells) + 1e-4).sqrt() for band in bands]
        pictures = functional.avg_pool2d(pictures, 2)
    return found


def _mean_difference(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    return torch.stack([functional.l1_loss(one, other.detach()) for one, other in zip(made, real, strict=True)]).mean()


# --- augmentation ---


def diff_augment(pictures: Tensor, rng: np.random.Generator, copies: int = 1) -> Tensor:
    """Pictures (N, 1, H, W) in -1..1, brighter or darker, in other contrast, moved and with a hole.

    Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020: colour, translation and
    cutout, for real and generated pictures alike, so that the critic cannot learn a few hundred pictures by heart.

    Args:
        pictures: (N, 1, H, W), ``copies`` groups of N / copies one after the other.
        rng: Draws the changes.
        copies: How many groups get the same changes, picture by picture.
    """
    drawn = pictures.shape[0] // copies

    def draw(low: float, high: float) -> Tensor:
        values = np.tile(rng.uniform(low, high, drawn), copies).astype(np.float32)
        return torch.from_numpy(values).to(pictures.device).view(-1, 1, 1, 1)

    middle = pictures.mean((2, 3), keepdim=True)
    toned = (pictures - middle) * draw(0.7, 1.3) + middle + draw(-0.25, 0.25)
    return _cut(_move(toned, rng, copies), rng, copies)


def _move(pictures: Tensor, rng: np.random.Generator, copies: int) -> Tensor:
    """Whole pixels, zeros beyond the border."""
    reach = [max(int(side * REACH), 1) for side in pictures.shape[2:]]
    steps = rng.integers(0, [2 * reach[0] + 1, 2 * reach[1] + 1], (pictures.shape[0] // copies, 2)) - reach
    moved = [
        functional.pad(one, (int(right), -int(right), int(down), -int(down)))
        for one, (down, right) in zip(pictures.unbind(), np.tile(steps, (copies, 1)), strict=True)
    ]
    return torch.stack(moved)


def _cut(pictures: Tensor, rng: np.random.Generator, copies: int) -> Tensor:
    height, width = pictures.shape[2:]
    corners = np.tile(rng.uniform(-HOLE, 1.0, (pictures.shape[0] // copies, 2)), (copies, 1))
    keep = torch.ones_like(pictures)
    for number, (row, column) in enumerate(corners):
        rows = slice(max(int(row * height), 0), max(int((row + HOLE) * height), 0))
        columns = slice(max(int(column * width), 0), max(int((column + HOLE) * width), 0))
        keep[number, :, rows, columns] = 0.0
    return pictures * keep
