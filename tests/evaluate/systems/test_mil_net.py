from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

import natives
from tamperscope.detectors.places import FLOOR
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.mil_net import BAGS, ENCODER, FEATURES, JUDGED, PATCHES, POOLED, Bags, softmax
from tamperscope.evaluate.systems.native import Grid

GRID = Grid(16, 8)
STEEP = 40.0


def networks(columns: int = 2) -> Networks:
    """The feature of a patch is its mean, which asks for weight as well; that of a bag is also its logit."""
    from onnx import TensorProto, helper  # only the extra [train] has it

    def number(name: str, value: list, kind: int = TensorProto.INT64):
        return helper.make_tensor(name, kind, [len(value)], value)

    def model(nodes: list, given: str, shape: list, answer: str, count: int, constants: list) -> bytes:
        seen = helper.make_tensor_value_info(given, TensorProto.FLOAT, shape)
        out = helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["n", count])
        graph = helper.make_graph(nodes, given, [seen], [out], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return made.SerializeToString()

    steep = number("steep", [STEEP], TensorProto.FLOAT)
    mean = [
        helper.make_node("ReduceMean", [PATCHES, "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "steep"], ["asked"]),
        helper.make_node("Concat", ["mean", "asked"], [FEATURES], axis=1),
    ]
    twice = [
        helper.make_node("Mul", [POOLED, "steep"], ["asked"]),
        helper.make_node("Concat", ["asked", *[POOLED] * (columns - 1)], [JUDGED], axis=1),
    ]
    encoder = model(mean, PATCHES, ["n", 1, 16, 16], FEATURES, 2, [number("axes", [2, 3]), steep])
    return Networks({ENCODER: encoder, BAGS: model(twice, POOLED, ["n", 1], JUDGED, columns, [steep])}, threads=1)


def looks(columns: int = 2) -> Bags:
    return Bags(GRID, natives.WINDOW, networks(columns))


def test_it_is_made_again_from_what_it_says():
    volume, _ = natives.volume(1, forged=True)
    again = systems.made("bags", looks().settings, networks())
    assert again.settings == {"patch": 16, "stride": 8, "window_hu": [-1000.0, 400.0]}
    assert again.answer(volume).slices == looks().answer(volume).slices
    with pytest.raises(WeightsError, match="the model's input is not understood"):
        systems.made("bags", {"patch": 16}, networks())


def test_pooling_by_hand():
    """What is brightest has most of the weight, in its slice and among the slices."""
    volume, _ = natives.volume(2, forged=False, depth=3)
    volume.voxels[1, 40:56, 24:40] = 390.0
    found = looks().answer(volume)
    means = []
    for plane in volume.voxels:
        unit = (np.clip(plane, -1000, 400) + 1000) / 1400
        inside = np.zeros((24, 24), dtype=bool)
        inside[1:23, 1:23] = True
        patches = GRID.cut(unit.astype(np.float32), GRID.corners(inside, plane.shape)).mean(axis=(1, 2, 3))
        means.append(float((softmax(STEEP * patches) * patches).sum()))
    np.testing.assert_allclose(found.slices, means, atol=2e-3)
    assert found.score == pytest.approx(float((softmax(STEEP * np.array(means)) * means).sum()), abs=2e-3)
    assert found.highest == found.score
    assert found.slices.index(max(found.slices)) == 1


def test_the_map_points_at_what_is_attended_and_has_the_score_there():
    volume, _ = natives.volume(2, forged=False, depth=3)
    volume.voxels[1, 40:56, 24:40] = 390.0
    before = volume.voxels.copy()
    found = looks().answer(volume)
    k, row, column = np.unravel_index(found.heatmap.argmax(), volume.shape)
    assert (k, 36 <= row < 60, 20 <= column < 44) == (1, True, True)
    assert found.heatmap.max() == pytest.approx(found.score, abs=1e-5)
    assert found.heatmap[0].max() < found.score
    assert found.heatmap[0, 0, 0] == FLOOR
    assert np.array_equal(volume.voxels, before)


@pytest.mark.parametrize("shape", natives.ODD.values(), ids=natives.ODD.keys())
@pytest.mark.parametrize("value", [0.0, -1000.0])
def test_constant_and_tiny_volumes_have_answers(shape, value):
    found = looks().answer(natives.constant(shape, value))
    assert len(found.slices) == shape[0]
    assert found.heatmap.shape == shape
    assert np.isfinite([*found.slices, found.score]).all()
    assert np.isfinite(found.heatmap).all()


def test_networks_that_give_something_else_are_told():
    with pytest.raises(WeightsError, match=r"bags\.onnx gave \(1, 1\) for 1 pooled"):
        looks(1).answer(natives.volume(1, forged=False)[0])
