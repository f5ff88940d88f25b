"""The small networks that generative attacks run: ONNX files with a Card of their own, for the red team only.

``networks/NAME.json`` says what ``NAME.onnx`` is, how it was trained, under which licence, and its SHA-256. These Cards
differ from those of detectors (`tamperscope.weights`): a generator has no calibration and decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tamperscope import runtime
from tamperscope.errors import WeightsError
from tamperscope.records import JSON, FloatArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SCHEMA = "tamperscope/network/1"
PACKAGED = Path(__file__).parent / "networks"


@dataclass(frozen=True)
class Network:
    """A generator by name. Its file is read, verified and opened at first use, and never before."""

    name: str
    folder: Path = field(default=PACKAGED, repr=False)

    def __reduce__(self) -> tuple[type[Network], tuple[str, Path]]:
        """Another process opens the file itself: an open session cannot travel."""
        return Network, (self.name, self.folder)

    @cached_property
    def card(self) -> Mapping[str, JSON]:
        """What the file promises: name, what, training, licence, sha256, and what the attack has to know.

        Raises:
            WeightsError: no Card, or one of another schema.
        """
        path = self.folder / f"{self.name}.json"
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            schema = tree["schema"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"cannot read the Card {path}: {error!r}", hint="install the package again, or train the network"
            ) from error
        if schema != SCHEMA:
            raise WeightsError(f"{path} has the schema {schema!r}, not {SCHEMA}", hint="install matching versions")
        return cast("Mapping[str, JSON]", tree)

    def run(self, **inputs: np.ndarray) -> FloatArray:
        """The network's one output for the named inputs, float32; one thread, so that a record replays bit for bit.

        Raises:
            WeightsError: the file is missing, is not the one that the Card promises, or does not take these inputs.
        """
        try:
            (answer,) = self._session.run(None, inputs)
        except WeightsError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise WeightsError(f"the network {self.name} failed: {error}", hint="install matching versions") from error
        return np.asarray(answer, dtype=np.float32)

    @cached_property
    def _session(self) -> InferenceSession:
        path = self.folder / f"{self.name}.onnx"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error}", hint="install the package again") from error
        found, promised = hashlib.sha256(data).hexdigest(), self.card.get("sha256")
        if found != promised:
            raise WeightsError(
                f"{path} has SHA-256 {found}, its Card promises {promised}",
                hint="the file was changed or damaged: install the package again",
            )
        try:
            return runtime.session(data, 1)
        except Exception as error:  # as above
            raise WeightsError(f"ONNX Runtime refuses {path}: {error}", hint="install matching versions") from error
