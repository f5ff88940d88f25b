from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tamperscope.errors import WeightsError  # noqa: E402
from tamperscope.models import trace_net  # noqa: E402
from tamperscope.train.export import to_onnx  # noqa: E402
from tamperscope.train.warm_start import warm_start  # noqa: E402


def seen(n: int):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lived_in(width: int):
    """A network whose norms have seen something, so that folding them is no identity."""
    torch.manual_seed(5)
    net = trace_net(width=width)
    with torch.no_grad():
        for _ in range(3):
            net.train()(3.0 * seen(8) + 1.0)
    return net.eval()


def test_the_network_answers_as_the_file_in_training_and_in_inference(tmp_path):
    before = lived_in(4)
    with torch.inference_mode():
        expected = before(seen(8)).numpy()
    to_onnx(before, tmp_path / "net.onnx")
    net = trace_net(width=4)
    warm_start(net, tmp_path / "net.onnx", seen(8))
    assert net.training
    assert expected.std() > 0.0
    with torch.inference_mode():
        np.testing.assert_allclose(net(seen(8)).numpy(), expected, atol=0.01)
        np.testing.assert_allclose(net.eval()(seen(8)).numpy(), expected, atol=0.01)


def test_weights_of_another_width_are_refused(tmp_path):
    to_onnx(lived_in(4), tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match="another network"):
        warm_start(trace_net(width=8), tmp_path / "net.onnx", seen(4))


def test_what_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="cannot read"):
        warm_start(trace_net(width=4), tmp_path / "net.onnx", seen(4))
