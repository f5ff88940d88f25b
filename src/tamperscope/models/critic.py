"""The critic that the networks for knees are trained against: patches at several scales, given the grade."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class Critic(nn.Module):
    """Pictures (N, 1, H, W), sides multiples of 16, and grades (N,) to scores of places and features.

    Convolutions of stride 2 with batch norm; each grid but the finest is judged place by place (Isola et al.,
    Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017), and the mean of the last one as a
    whole, by projection on the grade (Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018).
    """

    def __init__(self, grades: int, widths: Sequence[int]) -> None:
        super().__init__()
        before = (1, *widths[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(before, widths, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in widths[1:])
        held = [nn.Embedding(grades, width) for width in widths[1:]]
        for one in held:
            nn.init.zeros_(one.weight)
        self.grades = nn.ModuleList(held)
        self.whole = nn.Linear(widths[-1], 1 + grades)

    def forward(self, pictures: Tensor, grades: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Scores, higher for what looks like a real picture of its grade, and features (N, C, h, w) of each level.

        There is a score (N, h, w) for each level, and one (N,) for the whole picture.
        """
        x = functional.leaky_relu(self.downs[0](pictures), 0.2)
        features, scores = [], []
        for down, norm, head, held in zip(self.downs[1:], self.norms, self.heads, self.grades, strict=True):
            x = functional.leaky_relu(norm(down(x)), 0.2)
            features.append(x)
            scores.append(head(x)[:, 0] + (x * held(grades)[:, :, None, None]).sum(1))
        general, of_grades = self.whole(x.mean((2, 3))).tensor_split([1], dim=1)
        scores.append((general + of_grades.gather(1, grades[:, None]))[:, 0])
        return scores, features
