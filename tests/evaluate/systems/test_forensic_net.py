from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

import natives
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.forensic_net import INPUT, NETWORK, OUTPUT, ForensicMaps


def means(stride: int = 4) -> Networks:
    """A network of one node: the mean of each cell."""
    from onnx import TensorProto, helper  # only the extra [train] has it

    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 1, "h", "w"])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 1, "a", "b"])
    node = helper.make_node("AveragePool", [INPUT], [OUTPUT], kernel_shape=[stride] * 2, strides=[stride] * 2)
    graph = helper.make_graph([node], "means", [seen], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Networks({NETWORK: model.SerializeToString()}, threads=1)


def test_it_is_made_again_from_what_it_says():
    looks = ForensicMaps(natives.WINDOW, means())
    again = systems.made("forensic-maps", looks.settings, looks.networks)
    volume, _ = natives.volume(1, forged=True)
    assert again.settings == looks.settings == {"window_hu": [-1000.0, 400.0]}
    assert again.answer(volume).slices == looks.answer(volume).slices
    with pytest.raises(WeightsError, match="the model's input is not understood"):
        systems.made("forensic-maps", {}, means())


def test_a_slice_has_the_highest_value_of_its_map_inside_the_patient():
    volume, _ = natives.volume(1, forged=False, depth=3)
    volume.voxels[1, 40:44, 60:64] = 300.0
    volume.voxels[2, :4, :4] = 400.0  # outside the patient
    before = volume.voxels.copy()
    found = ForensicMaps(natives.WINDOW, means()).answer(volume)
    assert found.slices[1] == found.highest == pytest.approx(1300 / 1400, abs=1e-5)
    assert found.slices[2] < 0.8
    assert found.heatmap.shape == volume.shape
    assert np.unravel_index(found.heatmap.argmax(), volume.shape) == (1, 40, 60)
    assert np.array_equal(volume.voxels, before)


@pytest.mark.parametrize("shape", natives.ODD.values(), ids=natives.ODD.keys())
@pytest.mark.parametrize("value", [0.0, -1000.0])
def test_constant_and_tiny_volumes_have_answers(shape, value):
    found = ForensicMaps(natives.WINDOW, means()).answer(natives.constant(shape, value))
    assert len(found.slices) == shape[0]
    assert found.heatmap.shape == shape
    assert np.isfinite(found.heatmap).all()
    assert np.isfinite(found.highest)


def test_a_map_of_another_size_is_told():
    with pytest.raises(WeightsError, match=r"gave \(1, 1, 48, 48\) for a slice of 96 x 96"):
        ForensicMaps(natives.WINDOW, means(2)).answer(natives.volume(1, forged=False)[0])
