"""What every way of looking shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from tamperscope.evaluate.networks import Networks
from tamperscope.records import JSON, FloatArray, Volume


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a system says about a volume; raw values, higher is more suspicious."""

    slices: tuple[float, ...]
    """One a slice (D); none where only the volume as a whole has a score."""
    heatmap: FloatArray | None = None
    """float32 (D, H, W) on the volume's grid, or none. Its highest value is the score where places are compared."""
    score: float | None = None
    """Of the volume; the highest of its slices if None, as the literature decides on a patient."""

    @property
    def highest(self) -> float:
        """The score of the volume."""
        return max(self.slices) if self.score is None else self.score


class System(Protocol):
    """A trained system as it looks at volumes of the modalities that it was trained on.

    ``settings`` are what ``model.json`` says under "input"; the class makes itself from them and from the networks
    of the folder by ``of(settings, networks)``, which raises KeyError, TypeError or ValueError on what is wrong.
    """

    look: ClassVar[str]
    """Its name in ``model.json``."""

    @property
    def networks(self) -> Networks:
        """Its files."""
        ...

    @property
    def settings(self) -> dict[str, JSON]:
        """What makes it again."""
        ...

    def answer(self, volume: Volume) -> Answer:
        """Look at a volume, which is not changed.

        Raises:
            LimitError: ONNX Runtime fails.
            WeightsError: a network is not what it should be.
        """
        ...
