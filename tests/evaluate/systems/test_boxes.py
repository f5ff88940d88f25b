from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

from onnx import TensorProto, helper

from tamperscope import phantom
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Boxes
from tamperscope.evaluate.systems.boxes import FLOOR, INPUT, MOST, NETWORK, OUTPUT, strongest
from tamperscope.pictures import PictureSpec

SIDE = 16
CHEST = phantom.chest((11, 24, 24), (2.5, 15.0, 15.0))
WIDE = replace(CHEST, voxels=np.zeros((2, 10, 40), np.float32))


def network(boxes: Sequence[Sequence[float]], rows: int = 5) -> bytes:
    """An ONNX file that finds the same boxes (left, top, right, bottom, logit) in every picture.

    To the logits it adds the mean of the picture.
    """
    values = np.asarray(boxes, np.float32).reshape(-1, 5).T[None, :rows]
    last = np.zeros((1, rows, 1), np.float32)
    last[0, -1] = 1.0
    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", rows, "boxes"])
    held = {"axes": np.array([2, 3]), "first": np.array([1]), "boxes_0": values, "last": last}
    kinds = {key: TensorProto.INT64 if value.dtype.kind == "i" else TensorProto.FLOAT for key, value in held.items()}
    stored = [helper.make_tensor(key, kinds[key], one.shape, one.flatten().tolist()) for key, one in held.items()]
    nodes = [
        helper.make_node("ReduceMean", [INPUT, "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "first"], ["lifted"]),
        helper.make_node("Mul", ["lifted", "last"], ["added"]),
        helper.make_node("Add", ["boxes_0", "added"], [OUTPUT]),
    ]
    graph = helper.make_graph(nodes, "boxes", [seen], [answer], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def looks(*boxes: Sequence[float], rows: int = 5) -> Boxes:
    return Boxes(PictureSpec(SIDE), Networks({NETWORK: network(boxes, rows)}, threads=1))


def test_what_overlaps_a_stronger_box_is_left_out():
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.49], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.3]], np.float32)
    logits = np.array([1.0, 2.0, -1.0, 0.0], np.float32)
    assert strongest(boxes, logits).tolist() == [1, 3, 2]
    assert strongest(boxes, logits, 2).tolist() == [1, 3]


def test_empty_boxes_hide_nothing():
    boxes = np.array([[0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2], [0, 0, 1, 1]], np.float32)
    assert strongest(boxes, np.zeros(3, np.float32)).tolist() == [0, 1, 2]


def test_no_more_boxes_are_kept_than_are_drawn():
    lefts = np.arange(2 * MOST) / (2 * MOST)
    boxes = np.stack([lefts, lefts, lefts + 0.01, lefts + 0.01], 1).astype(np.float32)
    assert strongest(boxes, np.arange(2 * MOST, dtype=np.float32)).tolist() == list(range(2 * MOST - 1, MOST - 1, -1))


def test_boxes_lie_on_the_native_grid_of_slices_that_are_not_square():
    found = looks((0.25, 0.5, 0.5, 1.0, 2.0), (0.0, 0.0, 0.1, 0.1, -1.0)).answer(WIDE)
    expected = np.full((10, 40), FLOOR, np.float32)
    expected[5:10, 10:20] = 2.0
    expected[0:1, 0:4] = -1.0
    shown = found.heatmap - (found.slices[0] - 2.0)  # the mean of the picture is in all logits
    np.testing.assert_allclose(np.where(found.heatmap == FLOOR, FLOOR, shown)[0], expected, atol=1e-5)
    assert found.heatmap.shape == WIDE.shape
    assert found.heatmap.dtype == np.float32


def test_where_boxes_overlap_the_strongest_is_seen():
    (plane, _) = looks((0.0, 0.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5, 3.0)).answer(WIDE).heatmap
    assert plane[2, 2] > plane[8, 38]
    assert set(np.unique(plane).tolist()) == {plane[2, 2], plane[8, 38]}


def test_the_score_of_a_slice_is_its_strongest_box_and_the_highest_of_its_map():
    system = looks((0.1, 0.1, 0.3, 0.3, -1.0), (0.6, 0.6, 0.9, 0.9, 0.5))
    before = CHEST.voxels.copy()
    found = system.answer(CHEST)
    assert len(found.slices) == 11
    assert len(set(found.slices)) > 1, "the picture tells"
    assert found.slices == tuple(found.heatmap.max(axis=(1, 2)).tolist())
    assert found.highest == found.heatmap.max()
    assert np.array_equal(CHEST.voxels, before)
    shown = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 255)]
    np.testing.assert_allclose(system.logits(shown), [0.5, 1.5], atol=1e-6)


def test_nothing_lies_below_the_floor():
    found = looks((0.1, 0.1, 0.3, 0.3, -50.0)).answer(CHEST)
    assert (found.heatmap == FLOOR).all()
    assert found.slices == (FLOOR,) * 11


def test_boxes_beyond_the_rim_are_cut_and_thin_ones_have_a_pixel():
    found = looks((-0.5, -0.5, 0.5, 2.0, 1.0), (0.9, 0.9, 0.9, 0.9, 2.0), (1.2, 1.2, 1.4, 1.4, 3.0)).answer(WIDE)
    plane = found.heatmap[0]
    assert (plane[:, :20] > 0.9).all()
    assert np.argwhere(plane > 1.9).tolist() == [[9, 36], [9, 39]]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 2, 2)])
def test_constant_and_tiny_volumes_have_an_answer_too(shape):
    for value in (0.0, -1000.0):
        found = looks((0.2, 0.2, 0.4, 0.4, 1.0)).answer(replace(CHEST, voxels=np.full(shape, value, np.float32)))
        assert np.isfinite(found.heatmap).all()
        assert found.heatmap.shape == shape
        assert np.isfinite(found.slices).all()


def test_its_settings_make_it_again():
    system = looks((0.2, 0.2, 0.4, 0.4, 1.0))
    again = systems.made("boxes", system.settings, system.networks)
    assert again == system


def test_an_answer_of_another_shape_is_told():
    with pytest.raises(WeightsError, match=r"gave \(8, 4, 1\) for 8 pictures.*\(8, 5, boxes\)"):
        looks((0.2, 0.2, 0.4, 0.4, 1.0), rows=4).answer(CHEST)
    with pytest.raises(WeightsError, match=r"gave \(2, 5, 0\) for 2 pictures"):
        looks().answer(WIDE)
