from __future__ import annotations

import hashlib
import json
import pickle

import numpy as np
import pytest

from tamperscope.attacks.network import SCHEMA, Network
from tamperscope.errors import WeightsError

onnx = pytest.importorskip("onnx", reason="the extra [train] is not installed")


@pytest.fixture
def folder(tmp_path):
    """A network that adds its inputs, with its Card."""
    value = {n: onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n"]) for n in ("x", "y", "sum")}
    node = onnx.helper.make_node("Add", ["x", "y"], ["sum"])
    graph = onnx.helper.make_graph([node], "sum", [value["x"], value["y"]], [value["sum"]])
    opset = [onnx.helper.make_opsetid("", 17)]
    data = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    (tmp_path / "sum.onnx").write_bytes(data)
    card = {"schema": SCHEMA, "name": "sum", "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "sum.json").write_text(json.dumps(card))
    return tmp_path


def ones(n: int) -> np.ndarray:
    return np.ones(n, np.float32)


def test_it_runs_and_gives_its_card(folder):
    network = Network("sum", folder)
    assert network.run(x=ones(3), y=ones(3)).tolist() == [2.0, 2.0, 2.0]
    assert network.card["name"] == "sum"


def test_an_open_network_travels_to_another_process(folder):
    network = Network("sum", folder)
    network.run(x=ones(1), y=ones(1))
    travelled = pickle.loads(pickle.dumps(network))  # noqa: S301
    assert travelled == network
    assert travelled.run(x=ones(2), y=ones(2)).tolist() == [2.0, 2.0]


def test_nothing_is_read_before_it_is_needed(tmp_path):
    assert Network("absent", tmp_path).name == "absent"


@pytest.mark.parametrize("inputs", [{"x": ones(3)}, {"x": ones(3), "z": ones(3)}, {"x": ones(3), "y": ones(2)}])
def test_other_inputs_are_refused(folder, inputs):
    with pytest.raises(WeightsError, match="failed"):
        Network("sum", folder).run(**inputs)


def test_a_changed_file_is_refused(folder):
    (folder / "sum.onnx").write_bytes((folder / "sum.onnx").read_bytes() + b" ")
    with pytest.raises(WeightsError, match="promises"):
        Network("sum", folder).run(x=ones(1), y=ones(1))


def test_what_is_no_network_is_refused_even_where_its_card_promises_it(folder):
    data = b"\x80\x04pickle"
    (folder / "sum.onnx").write_bytes(data)
    (folder / "sum.json").write_text(json.dumps({"schema": SCHEMA, "sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(WeightsError, match="refuses"):
        Network("sum", folder).run(x=ones(1), y=ones(1))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"schema": "other/1"}'])
def test_a_missing_or_foreign_card_is_refused(folder, text):
    (folder / "sum.json").unlink()
    if text is not None:
        (folder / "sum.json").write_text(text)
    with pytest.raises(WeightsError):
        _ = Network("sum", folder).card


def test_a_missing_file_is_refused(folder):
    (folder / "sum.onnx").unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        Network("sum", folder).run(x=ones(1), y=ones(1))
