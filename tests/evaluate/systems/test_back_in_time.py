from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("onnx", reason="the extra [train] is not installed")

import natives
from tamperscope.detectors.places import FLOOR
from tamperscope.errors import WeightsError
from tamperscope.evaluate import systems
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.back_in_time import INPUT, NETWORK, OUTPUT, Residuals
from tamperscope.records import Volume

SIDE = 32


def steps_back(*, smaller: bool = False) -> Networks:
    """A network that gives what a pixel differs from the mean round it; or, ``smaller``, only that mean of a few."""
    from onnx import TensorProto, helper  # only the extra [train] has it

    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)
    few = helper.make_node("AveragePool", [INPUT], [OUTPUT], kernel_shape=[3, 3])
    mean = helper.make_node("AveragePool", [INPUT], ["mean"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=0)
    nodes = [few] if smaller else [mean, helper.make_node("Sub", [INPUT, "mean"], [OUTPUT])]
    graph = helper.make_graph(nodes, "differences", [seen], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Networks({NETWORK: model.SerializeToString()}, threads=1)


def looks(*, smaller: bool = False) -> Residuals:
    return Residuals(SIDE, natives.WINDOW, steps_back(smaller=smaller))


def test_it_is_made_again_from_what_it_says():
    volume, _ = natives.volume(1, forged=True)
    again = systems.made("residuals", looks().settings, steps_back())
    assert again.settings == {"side": 32, "window_hu": [-1000.0, 400.0]}
    assert again.answer(volume).slices == looks().answer(volume).slices
    with pytest.raises(WeightsError, match="the model's input is not understood"):
        systems.made("residuals", {"side": 32}, steps_back())


def test_crops_are_put_together_without_their_rims():
    plane = np.random.default_rng(0).random((70, 50), dtype=np.float32)
    found = looks().squared(plane, np.ones((18, 13), dtype=bool))
    expected = (plane - ndimage.uniform_filter(plane, 3)) ** 2
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-6)
    some = np.zeros((18, 13), dtype=bool)
    some[0, 0] = True
    part = looks().squared(plane, some)
    assert np.array_equal(part[:24, :24], found[:24, :24])
    assert not part[40:].any(), "what is not judged is not looked at"


def filled(*, forged: bool, dose: float = 1.0) -> tuple[Volume, np.ndarray]:
    """Soft tissue up to the border: the network here takes any edge for a forgery."""
    volume, mask = natives.volume(3, forged=forged, depth=2)
    air = volume.voxels < -500
    volume.voxels[air] = np.random.default_rng(4).normal(0.0, 20.0, int(air.sum()))
    volume.voxels[:] *= dose
    return volume, mask


def test_the_place_with_the_largest_residual_has_the_score():
    volume, mask = filled(forged=True)
    before = volume.voxels.copy()
    found = looks().answer(volume)
    assert mask[np.unravel_index(found.heatmap.argmax(), mask.shape)]
    assert found.highest == max(found.slices) == pytest.approx(found.heatmap.max(), abs=1e-5)
    assert found.highest > looks().answer(filled(forged=False)[0]).highest + 1.0
    assert np.array_equal(volume.voxels, before)
    assert looks().answer(natives.volume(3, forged=True)[0]).heatmap.min() == FLOOR


def test_the_dose_counts_for_nothing():
    full, half = (looks().answer(filled(forged=True, dose=dose)[0]).slices for dose in (1.0, 0.5))
    np.testing.assert_allclose(full, half, atol=0.05)


@pytest.mark.parametrize("shape", natives.ODD.values(), ids=natives.ODD.keys())
@pytest.mark.parametrize("value", [0.0, -1000.0])
def test_constant_and_tiny_volumes_have_answers(shape, value):
    found = looks().answer(natives.constant(shape, value))
    assert len(found.slices) == shape[0]
    assert found.heatmap.shape == shape
    assert np.isfinite(found.slices).all()
    assert np.isfinite(found.heatmap).all()


def test_crops_of_another_size_are_told():
    with pytest.raises(WeightsError, match=r"gave \(8, 1, 30, 30\) for crops \(8, 1, 32, 32\)"):
        looks(smaller=True).answer(natives.volume(1, forged=False)[0])
