"""From trained weights to the ONNX file that scanning runs, with proof that both answer alike."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from tamperscope import weights
from tamperscope.errors import WeightsError
from tamperscope.preprocess import CHANNELS

LARGEST_DIFFERENCE = 0.02
"""Between the logits of torch and of ONNX Runtime: the file holds weights in half precision, which moves logits by some
thousandths; a wrong graph moves them by whole numbers."""
LARGEST_PART = 1e-4
"""The same for weights that are stored as they are, in parts of logits beyond 1: what single precision can promise
grows with the number."""
SMALLEST_HALVED = 1024
"""Numbers in a tensor from which halving it pays."""


def to_onnx(net: nn.Module, path: Path) -> float:
    """Write ``net`` as ONNX with free height and width, and return the largest difference of its logits.

    Raises:
        WeightsError: ONNX Runtime answers otherwise than torch.
    """
    net = net.cpu().eval()
    example = torch.randn(1, CHANNELS, 128, 160, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.export.Dim("rows", min=2, max=256), torch.export.Dim("columns", min=2, max=256)
    write(net, path, {"channels": example}, "logits", {"x": {2: 16 * rows, 3: 16 * columns}})
    return _difference(net, path)


def checked(
    net: nn.Module,
    name: str,
    inputs: Mapping[str, Tensor],
    output: str,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    free: Sequence[Mapping[int, Any] | None] | None = None,
) -> tuple[bytes, float]:
    """``net`` as ONNX with weights as they are, and the largest difference of its answers to torch's on ``samples``.

    Of answers beyond 1, the difference in parts of them.

    Args:
        net: Its ``forward`` takes the inputs in this order and gives one tensor.
        name: Of the file, for messages.
        inputs: An example of each input by its name in the file.
        output: Name of the answer.
        samples: Inputs on which both are compared.
        free: Axes that stay free, an entry an input.

    Raises:
        WeightsError: it is larger than `LARGEST_PART`.
    """
    net = net.cpu().eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(net, path, inputs, output, None if free is None else tuple(free), half=False)
        data = path.read_bytes()
    session, largest = weights.opened(data, name), 0.0
    for seen in samples:
        (answer,) = session.run([output], dict(seen))
        with torch.inference_mode():
            expected = net(*(torch.from_numpy(seen[key]) for key in inputs)).numpy()
        if answer.shape != expected.shape:
            raise WeightsError(
                f"{name} gives {answer.shape}, torch {expected.shape}",
                hint="let the network work for any number of inputs",
            )
        largest = max(largest, float((np.abs(answer - expected) / np.maximum(np.abs(expected), 1.0)).max()))
    if not largest < LARGEST_PART:
        raise WeightsError(f"the logits of {name} differ by {largest:.2g} from torch", hint="do not use this file")
    return data, largest


def write(
    net: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    output: str,
    shapes: dict[str, Any] | tuple[Any, ...] | None = None,
    *,
    half: bool = True,
) -> None:
    """Write ``net``, in evaluation mode on the CPU, as ONNX.

    Args:
        net: Its ``forward`` takes the inputs in this order and gives one tensor.
        path: The file.
        inputs: An example of each input by its name in the file.
        output: Name of the answer.
        shapes: Axes that stay free, by argument of ``forward`` or in their order, as `torch.export` takes them.
        half: Whether large weights are stored in half precision.

    Raises:
        WeightsError: torch exports nothing.
    """
    with warnings.catch_warnings():
        # The exporter warns of its own future; none of it concerns the file.
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                net,
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=shapes or None,
                input_names=list(inputs),
                output_names=[output],
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise WeightsError(
                f"torch cannot export the network: {str(error).strip().splitlines()[0]}",
                hint="let it work for any number of inputs, with operations that ONNX has",
            ) from error
    if program is None:
        raise WeightsError(f"torch exported nothing to {path}", hint="install the versions of the extra 'train'")
    program.save(str(path), external_data=False)
    model = _bare(onnx.load(path))
    onnx.save(_halved(model) if half else model, path)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without the exporter's notes, which name the source files of the machine it ran on."""
    for part in (model.graph, *model.graph.node):
        del part.metadata_props[:]
    return model


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with large tensors stored as float16 and cast back when it is loaded: half the size of the file.

    ONNX Runtime folds the casts once, when the session opens; the arithmetic stays float32.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST_HALVED:
            continue
        stored = f"{tensor.name}.half"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]  # shapes of the renamed tensors; ONNX Runtime infers them anew
    onnx.checker.check_model(model)
    return model


def _difference(net: nn.Module, path: Path) -> float:
    session = weights.opened(path.read_bytes(), path.name)
    largest = 0.0
    for shape in ((128, 160), (512, 384)):
        seen = torch.randn(1, CHANNELS, *shape, generator=torch.Generator().manual_seed(1))
        (answer,) = session.run(None, {"channels": seen.numpy()})
        with torch.inference_mode():
            expected = net(seen).numpy()
        largest = max(largest, float(np.abs(answer - expected).max()))
    if largest > LARGEST_DIFFERENCE:
        raise WeightsError(f"the logits of {path} differ by {largest:.2g} from torch", hint="do not ship this file")
    return largest


def eighth(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with what `write` stored in half precision as whole numbers of eight bits, a scale for each row.

    ONNX Runtime folds the scaling once, when the session opens. A weight moves by 1/254 of its row's largest at most.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name.endswith(".half")}
    for node in model.graph.node:
        if node.op_type != "Cast" or node.input[0] not in stored:
            continue
        tensor = stored[node.input[0]]
        values = numpy_helper.to_array(tensor).astype(np.float32)
        largest = np.abs(values).reshape(len(values), -1).max(axis=1)
        scales = np.maximum(largest, 1e-12) / np.float32(127.0)
        whole = np.rint(values / scales.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        name = node.output[0]
        tensor.CopyFrom(numpy_helper.from_array(whole, f"{name}.eighth"))
        model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
        scaling = helper.make_node("DequantizeLinear", [f"{name}.eighth", f"{name}.scale"], [name], axis=0)
        node.CopyFrom(scaling)
    onnx.checker.check_model(model)
    return model


def united(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """One model that takes ``channels`` and answers with the mean of the ``logits`` of several.

    Raises:
        WeightsError: they are of other versions of ONNX than each other.
    """
    versions = {opset.version for model in models for opset in model.opset_import if not opset.domain}
    if len(versions) != 1:
        raise WeightsError(f"networks of ONNX {sorted(versions)}", hint="export all with one version of torch")
    parts = [compose.add_prefix(m, f"{n}/", rename_inputs=False).graph for n, m in enumerate(models)]
    mean = helper.make_node("Mean", [part.output[0].name for part in parts], ["logits"])
    graph = helper.make_graph(
        [*(node for part in parts for node in part.node), mean],
        "mean",
        [models[0].graph.input[0]],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, "rows", "columns"])],
        [tensor for part in parts for tensor in part.initializer],
    )
    found = helper.make_model(graph, opset_imports=models[0].opset_import, ir_version=models[0].ir_version)
    onnx.checker.check_model(found)
    return found
