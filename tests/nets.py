"""What every network must do, for the tests of each. Import it after torch is known to be there."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from tamperscope import runtime


def unreached(net: torch.nn.Module, *inputs: torch.Tensor) -> list[str]:
    """Names of the parameters that no gradient reaches from a random sum over all outputs.

    Weights are drawn anew: some start at zero by design, and hide those before them.
    """
    chance = torch.Generator().manual_seed(0)
    net.train()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance), alpha=0.05)
    answers = net(*inputs)
    answers = answers if isinstance(answers, tuple) else (answers,)
    sum((answer * torch.randn(answer.shape, generator=chance)).sum() for answer in answers).backward()
    return [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks have the same weights and buffers."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


def difference(net: torch.nn.Module, folder: Path, *inputs: torch.Tensor) -> float:
    """The largest difference between ONNX Runtime and torch after export to a file in ``folder``.

    Batch norms count the inputs first: with the statistics of a new network signals fade, and anything agrees.
    """
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        net.train()(*inputs)
    net.eval()
    path = folder / "net.onnx"
    names = [f"input_{number}" for number in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own future
        program = torch.onnx.export(net, inputs, dynamo=True, input_names=names, verbose=False)
    program.save(str(path))
    session = runtime.session(path.read_bytes(), 1)
    given = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    with torch.inference_mode():
        expected = net(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert expected[0].std() > 1e-3, "the network hardly looks at its inputs"
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(given, expected, strict=True))
