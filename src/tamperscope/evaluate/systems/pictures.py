"""Every slice as one small picture, and the logit of each: what most of the literature does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from tamperscope import pictures
from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.system import Answer
from tamperscope.pictures import Grey, PictureSpec
from tamperscope.records import JSON, FloatArray, Volume

NETWORK = "model.onnx"
INPUT, OUTPUT = "pictures", "logits"
"""Names in the ONNX file: float32 (N, 1, side, side) of 0 to 1, and float32 (N, 1)."""
BATCH = 8
"""Pictures that the network sees at once."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """See `system.System`."""

    look: ClassVar[str] = "pictures"
    spec: PictureSpec
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Pictures:
        """See `system.System`."""
        return cls(PictureSpec.of(settings), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return self.spec.settings

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        planes = pictures.planes(volume)
        return Answer(self.logits(pictures.grey(plane, volume.modality, self.spec) for plane in planes))

    def logits(self, shown: Iterable[Grey]) -> tuple[float, ...]:
        """One for each picture (side, side). Raises as `logits` does."""
        return logits(self.networks, shown)


def logits(networks: Networks, shown: Iterable[Grey], batch: int = BATCH, name: str = NETWORK) -> tuple[float, ...]:
    """What the network in file ``name`` answers to each picture (side, side), of which it sees ``batch`` at once.

    Raises:
        WeightsError: the network gives something else than a number a picture.
    """
    found: list[float] = []
    stream = iter(shown)
    while some := tuple(islice(stream, batch)):
        seen = pictures.unit(np.stack(some))
        found += one_each(networks.run(name, {INPUT: seen}, OUTPUT), len(seen), name)
    return tuple(found)


def one_each(answer: FloatArray, count: int, name: str = NETWORK) -> list[float]:
    """The numbers (count, 1) that a network gave.

    Raises:
        WeightsError: there are more or fewer.
    """
    if answer.size != count:
        raise WeightsError(
            f"{name} gave {answer.size} numbers for {count} pictures",
            hint="it gives one logit a picture: train the model again",
        )
    return [float(logit) for logit in answer.reshape(-1)]
