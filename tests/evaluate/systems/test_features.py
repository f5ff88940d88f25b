from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

from tamperscope import phantom, pictures
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.features import INPUT, NETWORK, OUTPUT, Features, described
from tamperscope.evaluate.texture_features import texture_features

CHEST = phantom.chest((3, 40, 30), (2.5, 8.0, 8.0))
WINDOW = (-1000.0, 400.0)


def look(reduced: str = "ReduceSum") -> Features:
    """A network that adds the features up."""
    from onnx import TensorProto, helper

    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 24])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [helper.make_node(reduced, [INPUT, "axes"], [OUTPUT], keepdims=1)]
    if reduced == "Identity":
        nodes = [helper.make_node(reduced, [INPUT], [OUTPUT])]
    graph = helper.make_graph(nodes, "sum", [seen], [answer], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Features(WINDOW, Networks({NETWORK: model.SerializeToString()}, threads=1))


def test_the_network_sees_the_features_of_the_slice_in_its_own_pixels():
    before = CHEST.voxels.copy()
    answer = look().answer(CHEST)
    shown = [pictures.native(plane, "CT", WINDOW).astype(np.float32) for plane in CHEST.voxels]
    np.testing.assert_allclose(answer.slices, [texture_features(plane).sum() for plane in shown], rtol=1e-4)
    assert answer.heatmap is None
    assert answer.highest == max(answer.slices)
    assert described(CHEST, WINDOW).shape == (3, 24)
    assert np.array_equal(CHEST.voxels, before)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 2, 2)])
def test_constant_and_tiny_volumes_have_a_score_too(shape):
    for value in (0.0, -1000.0):
        answer = look().answer(replace(CHEST, voxels=np.full(shape, value, np.float32)))
        assert len(answer.slices) == shape[0]
        assert np.isfinite(answer.slices).all()


def test_a_network_that_gives_more_than_a_number_a_slice_is_told():
    with pytest.raises(WeightsError, match=r"gave 72 numbers for 3 pictures"):
        look("Identity").answer(CHEST)


def test_settings_are_read_as_they_are_written():
    assert systems.made("features", look().settings, look().networks).settings == look().settings
    with pytest.raises(WeightsError, match="not understood"):
        systems.made("features", {}, Networks({}))
