"""The learned detector: a network that knows the traces of pasting, run by ONNX Runtime at native resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from tamperscope import anatomy, weights
from tamperscope.detectors import places
from tamperscope.errors import LimitError, WeightsError
from tamperscope.records import Evidence, FloatArray, MaskArray, Volume
from tamperscope.weights import Card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GRAIN = 16
"""The network wants rows and columns in multiples of this; the border is repeated to reach it."""


@dataclass(slots=True)
class TraceDetector:
    """Runs the network of ``card`` over every slice that shows the patient. The session opens at first use.

    ``tick`` is called after each slice with (done, all), for a progress bar.
    """

    card: Card
    threads: int | None = None
    tick: Callable[[int, int], None] | None = None
    _session: InferenceSession | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The Card's name."""
        return self.card.name

    def detect(self, volume: Volume) -> Evidence:
        """See `detector.Detector`. Raw values are logits of the network.

        Raises:
            WeightsError: the network is missing or not the one that the Card promises.
        """
        return places.detect(self.name, self.card.input, volume, self.maps)

    def maps(self, volume: Volume, inside: MaskArray) -> FloatArray:
        """Logits (D, ceil(H / 4), ceil(W / 4)), smoothed through the slices; the floor where a slice shows no patient.

        ``inside`` is the body on the same grid, as the Card's contract finds it.
        """
        if self._session is None:
            self._session = weights.session(self.card, self.threads)
        maps: FloatArray = np.full(inside.shape, places.FLOOR, dtype=np.float32)
        shown = [int(k) for k in np.flatnonzero(inside.any(axis=(1, 2)))]
        for done, (k, seen) in enumerate(self._prepared(volume, shown), start=1):
            logits = _run(self._session, seen)
            expected = (1, 1, seen.shape[1] // anatomy.STEP, seen.shape[2] // anatomy.STEP)
            if logits.shape != expected:
                raise WeightsError(
                    f"the network of {self.name} answers with the shape {logits.shape} instead of {expected}",
                    hint="it is not the network that this Card is of: install the package again",
                )
            maps[k] = logits[0, 0, : maps.shape[1], : maps.shape[2]]
            if self.tick is not None:
                self.tick(done, len(shown))
        return places.through_slices(maps, volume)

    def _prepared(self, volume: Volume, shown: list[int]) -> Iterator[tuple[int, FloatArray]]:
        """Each slice's channels, made by a second thread while the network runs on the slice before."""
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(self._prepare, volume.voxels[k]) for k in shown[:1]]
            for position, k in enumerate(shown):
                ready = ahead.pop()
                if position + 1 < len(shown):
                    ahead.append(pool.submit(self._prepare, volume.voxels[shown[position + 1]]))
                yield k, ready.result()

    def _prepare(self, plane: FloatArray) -> FloatArray:
        seen = self.card.input.channels(plane)
        missing = [-size % GRAIN for size in seen.shape[1:]]
        return np.pad(seen, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else seen


def _run(session: InferenceSession, seen: FloatArray) -> FloatArray:
    try:
        return cast("FloatArray", session.run(None, {"channels": seen[None]})[0])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise LimitError(
            f"the network failed on a slice of {seen.shape[1]} x {seen.shape[2]}: {error}",
            hint="most likely memory: close other programs, or scan on a larger machine",
        ) from error
