"""The networks of a model folder: their bytes are held against the promised digests, then ONNX Runtime opens them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamperscope import weights
from tamperscope.errors import LimitError, WeightsError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

HINT = "the file was changed or damaged: train the model again"


@dataclass(slots=True)
class Networks:
    """Files by name. A session opens at first use, with ``threads`` threads (all available cores if None)."""

    files: Mapping[str, bytes]
    threads: int | None = None
    _sessions: dict[str, InferenceSession] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def read(cls, folder: Path, digests: Mapping[str, str], threads: int | None = None) -> Networks:
        """The files of a folder.

        Raises:
            WeightsError: one is missing, outside of the folder, or not the one that was promised.
        """
        outside = [name for name in digests if Path(name).name != name]
        if outside:
            raise WeightsError(f"the model names {outside[0]!r}, which is no file of its folder", hint=HINT)
        return cls({name: _verified(folder / name, digest) for name, digest in digests.items()}, threads)

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]], output: str) -> NDArray[np.float32]:
        """What the network in file ``name`` answers.

        Raises:
            WeightsError: there is no such file, or ONNX Runtime refuses it, or a number of the answer is not finite.
            LimitError: ONNX Runtime fails.
        """
        if name not in self._sessions:
            if name not in self.files:
                raise WeightsError(f"the model has no {name}", hint="train the model again")
            self._sessions[name] = weights.opened(self.files[name], name, self.threads)
        try:
            (answer,) = self._sessions[name].run([output], dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            shapes = ", ".join(f"{key} {value.shape}" for key, value in inputs.items())
            raise LimitError(
                f"{name} failed on {shapes}: {error}",
                hint="most likely memory: close other programs; or the file takes other inputs: train the model again",
            ) from error
        found = np.asarray(answer, dtype=np.float32)
        if not np.isfinite(found).all():
            raise WeightsError(f"{name} answers with what is no number", hint="train the model again")
        return found


def _verified(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}", hint="train the model again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise WeightsError(f"{path} has SHA-256 {found}, the model promises {digest}", hint=HINT)
    return data
