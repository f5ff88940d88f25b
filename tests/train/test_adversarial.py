from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.train.adversarial import Likeness, Opponent, descend, diff_augment, pleasing, texture  # noqa: E402


def noise(count: int, *, seed: int = 0, side: int = 64):
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_critic_learns_what_is_real_and_of_which_grade():
    """Coarse noise is real for grade 0, fine noise for grade 1."""
    torch.manual_seed(0)
    opponent = Opponent(2, 8, 2e-3)
    fine, rng = noise(16), np.random.default_rng(0)
    coarse = 2.0 * torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(fine, 4), scale_factor=4.0)
    pictures = torch.cat([coarse, fine, fine, coarse])
    grades = torch.tensor([0, 1, 0, 1]).repeat_interleave(16)
    losses = [opponent.learn(pictures, grades, 32, rng) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]
    scores, _ = opponent.judge(pictures, grades, rng)
    mean = [float(scores[-1][start : start + 16].mean()) for start in range(0, 64, 16)]
    assert min(mean[:2]) > max(mean[2:])


def test_judging_teaches_the_maker_and_not_the_critic():
    torch.manual_seed(0)
    opponent = Opponent(5, 4, 1e-3)
    made = noise(2).requires_grad_()
    scores, features = opponent.judge(made, torch.tensor([1, 4]), np.random.default_rng(0))
    assert len(scores) == len(features) + 1 == 4
    pleasing(scores).backward()
    assert made.grad.abs().sum() > 0.0
    assert all(held.grad is None for held in opponent.critic.parameters())
    assert all(held.requires_grad for held in opponent.critic.parameters())


def test_a_step_is_clipped():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    descend(optimiser, (1e6 * weight).sum())
    assert weight.item() == pytest.approx(-5.0)


def test_texture_is_alike_for_two_draws_and_unlike_for_another_strength():
    def difference(one, other):
        return float(
            torch.stack([(a - b).abs().mean() for a, b in zip(texture(one), texture(other), strict=True)]).mean()
        )

    alike = difference(0.1 * noise(4, seed=1), 0.1 * noise(4, seed=2))
    weaker = difference(0.1 * noise(4, seed=1), 0.05 * noise(4, seed=2))
    assert weaker > 3.0 * alike


def test_a_picture_is_most_like_itself():
    real = noise(2)
    same, named = Likeness().loss(real, real, [real], [real])
    assert float(same) == 0.0
    assert named == {"coarse": 0.0, "fine": 0.0, "texture": 0.0, "features": 0.0}
    weighted, named = Likeness(1.0, 2.0, 3.0, 4.0).loss(real + 0.1, real, [real + 1.0], [real])
    assert named["fine"] == pytest.approx(0.1, abs=1e-4)
    assert named["texture"] == pytest.approx(0.0, abs=1e-4), "brightness is no texture"
    assert float(weighted) == pytest.approx(0.1 + 0.2 + 4.0, abs=1e-2)


def test_copies_are_augmented_alike_and_others_not():
    pictures = noise(3)
    shown = diff_augment(torch.cat([pictures, pictures]), np.random.default_rng(0), copies=2)
    assert torch.equal(shown[:3], shown[3:])
    apart = diff_augment(torch.cat([pictures, pictures]), np.random.default_rng(0))
    assert not torch.equal(apart[:3], apart[3:])
    assert shown.shape == (6, 1, 64, 64)


def test_augmentation_passes_gradients():
    pictures = noise(2).requires_grad_()
    diff_augment(pictures, np.random.default_rng(1)).square().sum().backward()
    assert (pictures.grad != 0).float().mean() > 0.5
