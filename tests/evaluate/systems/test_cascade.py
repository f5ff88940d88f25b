from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

from baselines import mean_network
from tamperscope import phantom
from tamperscope.detectors.places import FLOOR
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.cascade import INPUT, OUTPUT, SIDE, SLICES, WINDOWS, Cascade, texture

LEVELS = 10
CHEST = phantom.chest((2, 96, 80), (2.5, 3.0, 3.0))


def last_network() -> bytes:
    """The last number of the texture: how often the highest level is beside itself, down to the left."""
    from onnx import TensorProto, helper

    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 2 * LEVELS * (LEVELS + 1)])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", 1])
    last = helper.make_tensor("last", TensorProto.INT64, [1], [-1])
    nodes = [helper.make_node("Gather", [INPUT, "last"], [OUTPUT], axis=1)]
    graph = helper.make_graph(nodes, "last", [seen], [answer], [last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def look(stride: int = 8) -> Cascade:
    files = {WINDOWS: mean_network(SIDE), SLICES: last_network()}
    return Cascade((-1000.0, 400.0), stride, LEVELS, Networks(files, threads=1))


@pytest.mark.parametrize("stride", [4, 7, 32])
def test_the_map_holds_the_windows_and_its_texture_the_score(stride):
    before = CHEST.voxels.copy()
    answer = look(stride).answer(CHEST)
    assert answer.heatmap.shape == CHEST.shape
    for k, plane in enumerate(CHEST.voxels):
        coarse = look(stride).coarse(plane, "CT")
        assert coarse.shape == tuple(-(-length // stride) for length in plane.shape)
        assert answer.slices[k] == pytest.approx(float(texture(coarse, LEVELS)[-1]))
        assert answer.heatmap[k].max() == pytest.approx(coarse.max())
        inside = coarse > FLOOR
        assert inside.any()
        assert ((coarse[inside] >= 0.0) & (coarse[inside] <= 1.0)).all(), "means of grey levels"
    assert np.array_equal(CHEST.voxels, before)
    assert look(stride).answer(CHEST).slices == answer.slices


def test_a_texture_counts_neighbours_within_the_body():
    """Of a map of 2 x 3 with one cell outside, by hand."""
    coarse = np.array([[-20.0, 20.0, 20.0], [-20.0, 20.0, FLOOR]], np.float32)
    along, down, right, left = texture(coarse, 2).reshape(4, 3)  # levels (0, 0), (0, 1), (1, 1)
    np.testing.assert_allclose(along, [0.0, 2 / 6, 1 / 3], atol=1e-6)  # 0-1, 1-1; 0-1
    np.testing.assert_allclose(down, [1 / 2, 0.0, 1 / 2], atol=1e-6)
    np.testing.assert_allclose(right, [0.0, 1 / 2, 0.0], atol=1e-6)
    np.testing.assert_allclose(left, [0.0, 1 / 4, 1 / 2], atol=1e-6)
    assert not texture(np.full((1, 1), 3.0, np.float32), 2).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 2, 2)])
def test_constant_and_tiny_volumes_have_a_score_too(shape):
    for value in (0.0, -1000.0):
        answer = look().answer(replace(CHEST, voxels=np.full(shape, value, np.float32)))
        assert len(answer.slices) == shape[0]
        assert np.isfinite(answer.slices).all()
        assert np.isfinite(answer.heatmap).all()


def test_a_network_that_knows_other_textures_is_told():
    other = replace(look(), levels=LEVELS + 1)
    with pytest.raises(Exception, match=r"slices\.onnx failed on texture"):
        other.answer(CHEST)


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"stride": 33}, {"levels": 1}, {"levels": 300}, {"window_hu": 1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(WeightsError, match="the model's input is not understood"):
        systems.made("cascade", {**look().settings, **wrong}, Networks({}))
    assert systems.made("cascade", look().settings, look().networks).settings == look().settings
