"""From a trained generator to the pair of files that an attack runs: NAME.onnx, and NAME.json that says what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tamperscope.attacks.network import SCHEMA, Network
from tamperscope.errors import WeightsError
from tamperscope.records import JSON
from tamperscope.train.export import write

LARGEST_BYTES = 1_300_000
LARGEST_DIFFERENCE = 0.03
"""Between torch and the file, in a range of -1 to 1: weights in half precision move answers by some thousandths."""


def publish(
    net: nn.Module,
    name: str,
    folder: Path,
    inputs: Mapping[str, Tensor],
    facts: Mapping[str, JSON],
    shapes: dict[str, Any] | None = None,
) -> float:
    """Write network and Card into ``folder``, and return the largest difference of their answers to ``inputs``.

    Args:
        net: Its ``forward`` takes ``inputs`` in this order.
        name: Of both files.
        folder: Made if it is missing.
        inputs: An example of each input by its name.
        facts: What the Card says beside name, schema and digest: what it is, training, licence.
        shapes: Axes that stay free, as `export.write` takes them.

    Raises:
        WeightsError: the file answers otherwise than torch, or is larger than what ships.
    """
    folder.mkdir(parents=True, exist_ok=True)
    net = net.cpu().eval()
    path = folder / f"{name}.onnx"
    write(net, path, inputs, "answer", shapes)
    data = path.read_bytes()
    if len(data) > LARGEST_BYTES:
        raise WeightsError(f"{path} has {len(data)} bytes, {LARGEST_BYTES} at most ship", hint="make it narrower")
    card = {"schema": SCHEMA, "name": name, **facts, "sha256": hashlib.sha256(data).hexdigest()}
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with torch.inference_mode():
        expected = net(*inputs.values()).numpy()
    answer = Network(name, folder).run(**{key: value.numpy() for key, value in inputs.items()})
    difference = float(np.abs(answer - expected).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise WeightsError(f"the answers of {path} differ by {difference:.2g} from torch", hint="do not ship this file")
    return difference
