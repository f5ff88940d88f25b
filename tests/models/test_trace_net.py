from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.models import trace_net  # noqa: E402
from tamperscope.models.trace_net import STRIDE  # noqa: E402


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return trace_net(width=4).eval()


@pytest.mark.parametrize(("height", "width"), [(128, 128), (512, 384), (8, 16)])
def test_the_map_has_a_quarter_of_the_sides(net, height, width):
    with torch.inference_mode():
        logits = net(torch.zeros(1, 3, height, width))
    assert logits.shape == (1, 1, height // STRIDE, width // STRIDE)
    assert torch.isfinite(logits).all()


def test_a_batch_is_its_pictures_one_by_one(net):
    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together, alone = net(batch), torch.cat([net(one[None]) for one in batch])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_change_reaches_the_map_where_it_is(net):
    calm = torch.zeros(1, 3, 512, 512)
    spot = calm.clone()
    spot[..., 64:72, 64:72] = 2.0
    with torch.inference_mode():
        change = (net(spot) - net(calm)).abs()[0, 0]
    row, column = divmod(int(change.argmax()), change.shape[1])
    assert abs(row - 17) <= 4
    assert abs(column - 17) <= 4
    assert change[-1, -1] == 0.0, "beyond the field of view of the deepest stage"


def test_training_begins_with_authentic_nearly_everywhere(net):
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.sigmoid(net(pictures)).mean() < 0.2


def test_width_scales_the_network():
    small, large = (sum(p.numel() for p in trace_net(width=w).parameters()) for w in (4, 8))
    assert 3.5 < large / small < 4.5
