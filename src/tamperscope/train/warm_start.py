"""Start a training from published weights instead of from chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tamperscope.errors import WeightsError


def warm_start(net: nn.Module, path: Path, seen: Tensor) -> None:
    """Give ``net`` (in place) the weights of the ONNX file that `export.to_onnx` made from a network of its kind.

    The exporter folds each batch norm into the convolution before it, so what is left is one weight and one bias. The
    norms are set up again from their inputs on ``seen`` (N, C, H, W), a batch of what the training will show: mean
    and variance as measured, scale and shift so that they undo the measuring and add the bias. The network then answers
    like the file, in training as in inference.

    Raises:
        WeightsError: the file holds another network.
    """
    stored = _tensors(path)
    convolutions = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    hooks = []
    try:
        with torch.no_grad():
            for name, part in convolutions:
                part.weight.copy_(stored[f"{name}.weight"])
                if part.bias is not None:
                    part.bias.copy_(stored[f"{name}.bias"])
        biases = [stored[f"{name}.weight_bias"] for name, part in convolutions if part.bias is None]
        hooks = [n.register_forward_pre_hook(_fitting(b)) for n, b in zip(norms, biases, strict=True)]
        with torch.no_grad():
            net.eval()(seen)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path} holds another network: {error}", hint="choose weights of this network") from error
    finally:
        for hook in hooks:
            hook.remove()
        net.train()


def _fitting(bias: Tensor):  # type: ignore[no-untyped-def]  # torch types its hooks as Any
    def fit(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        for held, value in (
            (norm.running_mean, mean),
            (norm.running_var, variance),
            (norm.weight, (variance + norm.eps).sqrt()),
            (norm.bias, bias + mean),
        ):
            if held is not None:
                held.copy_(value)

    return fit


def _tensors(path: Path) -> dict[str, Tensor]:
    """Initialisers by name, those in half precision (named NAME.half) in full."""
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's exceptions share no public base class
        raise WeightsError(f"cannot read {path} as ONNX: {error}", hint="name a network's .onnx file") from error
    return {
        tensor.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in model.graph.initializer
    }
