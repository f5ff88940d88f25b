"""Classifiers of scikit-learn from a recipe, fitted to rows, and as ONNX with proof that both answer alike.

scikit-learn and what converts its trees are imported where they are used: they take seconds, and networks need neither.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tamperscope import weights
from tamperscope.errors import WeightsError
from tamperscope.records import FloatArray
from tamperscope.train.export import LARGEST_PART
from tamperscope.train.options import Forest, Rows, Svm, Tree

OPSET, OPSET_ML, IR = 18, 1, 9
SURE = 1e-3
"""A forest or a tree is never surer than this: its leaves know shares of 0 and 1, whose log-odds are endless."""
ROWS = "rows"
"""What the rows are called within the file."""


def fitted(net: Rows, rows: FloatArray, labels: NDArray[np.int8], seed: int) -> Any:
    """A scikit-learn classifier or pipeline, fitted to rows float32 (N, F); both classes weigh alike."""
    made = _svm(net, rows.shape, seed) if isinstance(net, Svm) else _trees(net, seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # rows that are all alike explain 0 of a variance of 0
        return made.fit(rows, labels)


def scores(made: Any, rows: FloatArray) -> NDArray[np.float64]:
    """Of rows (N, F), higher is forged: the decision value of support vectors, log-odds of the rest."""
    if hasattr(made, "decision_function"):
        return np.asarray(made.decision_function(rows.astype(np.float64)), dtype=np.float64)
    share = np.clip(made.predict_proba(rows)[:, 1], SURE, 1.0 - SURE)
    return np.asarray(np.log(share / (1.0 - share)), dtype=np.float64)


def exported(
    made: Any, name: str, inputs: str, output: str, shape: Sequence[int], seen: FloatArray
) -> tuple[bytes, float]:
    """The classifier as ONNX, float32 (N, ...) to scores float32 (N, 1), and how far it is from scikit-learn.

    Of scores beyond 1, the difference in parts of them.

    Args:
        made: What `fitted` gives.
        name: Of the file, for messages.
        inputs: What the input is called.
        output: What the answer is called.
        shape: Of one input; flattened it is a row.
        seen: Inputs (M, ...) on which both are compared.

    Raises:
        WeightsError: the difference is larger than `export.LARGEST_PART`.
    """
    flat = helper.make_node("Flatten", [inputs], [ROWS], axis=1)
    length = int(np.prod(shape))
    nodes, tensors = _machine(made, output) if hasattr(made, "decision_function") else _ensemble(made, length, output)
    takes = helper.make_tensor_value_info(inputs, TensorProto.FLOAT, ["n", *shape])
    gives = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph([flat, *nodes], name, [takes], [gives], tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    (answer,) = weights.opened(data, name).run([output], {inputs: seen})
    expected = scores(made, seen.reshape(len(seen), -1))
    largest = float((np.abs(answer[:, 0] - expected) / np.maximum(np.abs(expected), 1.0)).max())
    if not largest < LARGEST_PART:
        raise WeightsError(
            f"the scores of {name} differ by {largest:.2g} from scikit-learn", hint="do not use this file"
        )
    return data, largest


def _svm(net: Svm, shape: Sequence[int], seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC, LinearSVC

    if net.kernel == "rbf":
        machine = SVC(C=net.penalty, class_weight="balanced")
    else:
        machine = LinearSVC(C=net.penalty, class_weight="balanced", random_state=seed, dual="auto", max_iter=10_000)
    if not net.components:
        return make_pipeline(machine)
    return make_pipeline(PCA(min(net.components, *shape), random_state=seed), machine)


def _trees(net: Rows, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    assert isinstance(net, Tree)  # noqa: S101 - what is no machine is one of these
    chosen = {"max_depth": net.depth, "min_samples_leaf": net.leaf, "class_weight": "balanced", "random_state": seed}
    if isinstance(net, Forest):
        return RandomForestClassifier(net.trees, **chosen)
    return DecisionTreeClassifier(**chosen)


def _machine(pipeline: Any, output: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Principal components and support vectors in plain operators, all sums in double precision.

    A sum over thousands of vectors in single precision, as ONNX's own SVMClassifier has it, is off by more than is
    allowed here.
    """
    machine, values = pipeline[-1], dict[str, NDArray[Any]]()
    nodes = [_node("Cast", [ROWS], "x", to=TensorProto.DOUBLE)]
    last = "x"
    if len(pipeline) > 1:
        values |= {"mean": pipeline[0].mean_, "components": pipeline[0].components_.T}
        nodes += [_node("Sub", [last, "mean"], "centred"), _node("MatMul", ["centred", "components"], "parts")]
        last = "parts"
    if hasattr(machine, "support_vectors_"):
        # exp(-gamma |x - v|²), with |x - v|² = |x|² - 2 x v + |v|².
        vectors, gamma = machine.support_vectors_, float(machine._gamma)
        values |= {"vectors": vectors.T, "lengths": (vectors**2).sum(axis=1)[None], "two": np.array(2.0)}
        values |= {"gamma": np.array(-gamma), "axis": np.array([1])}
        nodes += [
            _node("ReduceSumSquare", [last, "axis"], "length", keepdims=1),
            _node("MatMul", [last, "vectors"], "products"),
            _node("Mul", ["products", "two"], "twice"),
            _node("Sub", ["length", "twice"], "nearly"),
            _node("Add", ["nearly", "lengths"], "distances"),
            _node("Mul", ["distances", "gamma"], "exponents"),
            _node("Exp", ["exponents"], "kernel"),
        ]
        last, weight = "kernel", machine.dual_coef_
    else:
        weight = machine.coef_
    values |= {"weight": weight.T, "offset": machine.intercept_[None]}
    nodes += [
        _node("MatMul", [last, "weight"], "weighed"),
        _node("Add", ["weighed", "offset"], "sum"),
        _node("Cast", ["sum"], output, to=TensorProto.FLOAT),
    ]
    before, tensors = list[NodeProto](), list[TensorProto]()
    for name, value in values.items():
        single = value.astype(np.float32)
        if value.dtype.kind == "f" and value.size > 1 and np.array_equal(single, value):
            # Pixels and their components are single precision: half the size of the file.
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(single), f"{name}.single"))
            before.append(_node("Cast", [f"{name}.single"], name, to=TensorProto.DOUBLE))
        else:
            exact = value if value.dtype.kind == "i" else value.astype(np.float64)
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(exact), name))
    return [*before, *nodes], tensors


def _ensemble(made: Any, length: int, output: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Trees by scikit-learn's own converter, then the log-odds of their share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions to come; none of it concerns the file
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        options = {id(made): {"zipmap": False}}
        model = to_onnx(
            made,
            initial_types=[(ROWS, FloatTensorType([None, length]))],
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
        )
    ends = {"column": np.array([1]), "low": np.float32(SURE), "high": np.float32(1.0 - SURE), "one": np.float32(1.0)}
    nodes = [
        _node("Gather", [model.graph.output[1].name, "column"], "raw", axis=1),
        _node("Clip", ["raw", "low", "high"], "share"),
        _node("Sub", ["one", "share"], "rest"),
        _node("Div", ["share", "rest"], "odds"),
        _node("Log", ["odds"], output),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in ends.items()]
    return [*model.graph.node, *nodes], [*model.graph.initializer, *tensors]


def _node(kind: str, inputs: list[str], output: str, **options: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [output], **options)
