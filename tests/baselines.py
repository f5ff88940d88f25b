"""A trained classifier of slices as a folder: a network of one node, whose answer is known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tamperscope.evaluate.baseline import MODEL, Baseline, PlattCurve
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Pictures
from tamperscope.evaluate.systems.pictures import INPUT, NETWORK, OUTPUT
from tamperscope.pictures import PictureSpec

SIDE = 16
CURVE = PlattCurve(2.0, -1.0, tuple(np.linspace(-1.0, 0.0, 20).tolist()))


def mean_network(side: int = SIDE, axes: tuple[int, int] = (2, 3)) -> bytes:
    """An ONNX file that gives the mean of each picture, or over other axes what is no answer."""
    from onnx import TensorProto, helper  # only the extra [train] has it

    seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 1, side, side])
    answer = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", 1 if axes == (2, 3) else side])
    over = helper.make_tensor("axes", TensorProto.INT64, [2], axes)
    nodes = [helper.make_node("ReduceMean", [INPUT, "axes"], [OUTPUT], keepdims=0)]
    graph = helper.make_graph(nodes, "mean", [seen], [answer], [over])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def mean_model(folder: Path, axes: tuple[int, int] = (2, 3)) -> Path:
    """The folder, with that network and the file that says what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    data = mean_network(axes=axes)
    (folder / NETWORK).write_bytes(data)
    files = {NETWORK: hashlib.sha256(data).hexdigest()}
    look = Pictures(PictureSpec(SIDE), Networks({}))
    model = Baseline("mean", "plain-cnn", look.look, look.settings, ("CT",), CURVE, files, "m" * 64, {"steps": 3})
    (folder / MODEL).write_text(model.to_json(), encoding="utf-8")
    return folder
