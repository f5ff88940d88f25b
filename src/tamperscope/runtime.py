"""ONNX Runtime as this package wants it: quiet, on the CPU, and silent towards the network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Unless this is set before it is loaded, ONNX Runtime keeps an identifier of the machine and sends events to its maker
(from version 1.32 on). A scanner in a hospital sends nothing."""


def session(network: bytes, threads: int) -> InferenceSession:
    """A network, from the bytes of an ONNX file, that runs on so many threads.

    Raises:
        Exception: ONNX Runtime refuses the file; its exceptions share no public base class.
    """
    os.environ[NO_TELEMETRY] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
