from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models.jekyll import JOINT, REACH, translator  # noqa: E402


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = translator(4).eval()
    torch.nn.init.normal_(made.last.weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def pictures():
    return 0.5 * torch.randn(2, 1, 224, 224, generator=torch.Generator().manual_seed(1))


def test_nothing_changes_far_from_the_joint(net, pictures):
    with torch.inference_mode():
        change = net(pictures, torch.tensor([0, 1]))
    assert change.shape == pictures.shape
    rows = change.abs().amax(dim=(0, 1, 3))
    assert rows[JOINT] > 0.0
    assert (rows[: JOINT - REACH[1]] == 0.0).all()
    assert (rows[JOINT + REACH[1] :] == 0.0).all()


def test_a_change_is_at_most_from_black_to_white_and_small_at_first(net, pictures):
    torch.manual_seed(0)
    with torch.inference_mode():
        assert net(pictures, torch.tensor([0, 1])).abs().max() <= 1.0
        assert translator(4).eval()(pictures, torch.tensor([0, 1])).abs().max() < 0.1


def test_the_wanted_class_matters(net, pictures):
    with torch.inference_mode():
        healthy, diseased = (net(pictures, torch.full((2,), wanted)) for wanted in (0, 1))
    assert (healthy - diseased).abs().mean() > 1e-4
