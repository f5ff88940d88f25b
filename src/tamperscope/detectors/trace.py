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
RIM = 4
"""Cells round the patient that it sees as well."""


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
        """Logits (D, ceil(H / 4), ceil(W / 4)), settled as the contract says; the floor away from the patient.

        ``inside`` is the body on the same grid, as the Card's contract finds it.
        """
        if self._session is None:
            self._session = weights.session(self.card, self.threads)
        maps: FloatArray = np.full(inside.shape, places.FLOOR, dtype=np.float32)
        shown = [int(k) for k in np.flatnonzero(inside.any(axis=(1, 2)))]
        for done, (k, box, seen) in enumerate(self._prepared(volume, inside, shown), start=1):
            logits = _run(self._session, seen)
            expected = (1, 1, seen.shape[1] // anatomy.STEP, seen.shape[2] // anatomy.STEP)
            if logits.shape != expected:
                raise WeightsError(
                    f"the network of {self.name} answers with the shape {logits.shape} instead of {expected}",
                    hint="it is not the network that this Card is of: install the package again",
                )
            answered = maps[k][box]
            answered[:] = logits[0, 0, : answered.shape[0], : answered.shape[1]]
            if self.tick is not None:
                self.tick(done, len(shown))
        return self.card.input.settled(maps, volume)

    def _prepared(
        self, volume: Volume, inside: MaskArray, shown: list[int]
    ) -> Iterator[tuple[int, tuple[slice, slice], FloatArray]]:
        """Each slice's box and channels, made by a second thread while the network runs on the slice before."""
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(self.prepare, volume.voxels[k], inside[k]) for k in shown[:1]]
            for position, k in enumerate(shown):
                ready = ahead.pop()
                if position + 1 < len(shown):
                    following = shown[position + 1]
                    ahead.append(pool.submit(self.prepare, volume.voxels[following], inside[following]))
                yield k, *ready.result()

    def prepare(self, plane: FloatArray, inside: MaskArray) -> tuple[tuple[slice, slice], FloatArray]:
        """The cells that hold the patient, with a rim, and the channels there."""
        seen = self.card.input.channels(plane)
        box = _box(inside)
        rows, columns = (slice(cut.start * anatomy.STEP, cut.stop * anatomy.STEP) for cut in box)
        cut = seen[:, rows, columns]
        missing = [-size % GRAIN for size in cut.shape[1:]]
        return box, np.pad(cut, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else cut


def _box(inside: MaskArray) -> tuple[slice, slice]:
    """The cells (h, w) round those that are true: what is beside the patient costs time and tells nothing."""
    rows, columns = (
        slice(max(int(found[0]) - RIM, 0), min(int(found[-1]) + 1 + RIM, size))
        for found, size in zip((np.flatnonzero(inside.any(axis=n)) for n in (1, 0)), inside.shape, strict=True)
    )
    return rows, columns


def _run(session: InferenceSession, seen: FloatArray) -> FloatArray:
    try:
        return cast("FloatArray", session.run(None, {"channels": seen[None]})[0])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise LimitError(
            f"the network failed on a slice of {seen.shape[1]} x {seen.shape[2]}: {error}",
            hint="most likely memory: close other programs, or scan on a larger machine",
        ) from error
