"""Every slice as a picture in which a network marks places by boxes: how localisers of the literature look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tamperscope import pictures
from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.system import Answer
from tamperscope.pictures import Grey, PictureSpec
from tamperscope.records import JSON, FloatArray, Volume

NETWORK = "model.onnx"
INPUT, OUTPUT = "pictures", "boxes"
"""Names in the ONNX file: float32 (N, 1, side, side) of 0 to 1, and float32 (N, 5, A) for A boxes: left, top, right and
bottom in shares of the picture, and the logit of the confidence that something was changed there."""
BATCH = 8
"""Pictures that the network sees at once."""
FLOOR = -16.0
"""Logit of a voxel outside of all boxes, and the least that a box can have: one in ten million, next to nothing in
single precision."""
OVERLAP = 0.7
"""Intersection over union from which the weaker of two boxes is the same place again: what YOLO is published with."""
MOST = 20
"""Boxes of a slice that are drawn."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """See `system.System`. The score of a slice is the highest logit of its boxes; the map is the boxes, filled."""

    look: ClassVar[str] = "boxes"
    spec: PictureSpec
    networks: Networks

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Networks) -> Boxes:
        """See `system.System`."""
        return cls(PictureSpec.of(settings), networks)

    @property
    def settings(self) -> dict[str, JSON]:
        """See `system.System`."""
        return self.spec.settings

    def answer(self, volume: Volume) -> Answer:
        """See `system.System`."""
        shown = (pictures.grey(plane, volume.modality, self.spec) for plane in pictures.planes(volume))
        heatmap = np.full(volume.shape, FLOOR, dtype=np.float32)
        for plane, (boxes, logits) in zip(heatmap, self.found(shown), strict=True):
            _fill(plane, boxes, logits)
        return Answer(tuple(float(plane.max()) for plane in heatmap), heatmap)

    def logits(self, shown: Iterable[Grey]) -> tuple[float, ...]:
        """The score of each picture (side, side). Raises as `found` does."""
        return tuple(float(logits[0]) for _, logits in self.found(shown))

    def found(self, shown: Iterable[Grey]) -> Iterator[tuple[FloatArray, FloatArray]]:
        """The boxes (M, 4) of each picture (side, side) and their logits (M), strongest first; one or more.

        Raises:
            WeightsError: the network gives something else than boxes for each picture.
        """
        stream = iter(shown)
        while some := tuple(islice(stream, BATCH)):
            answer = self.networks.run(NETWORK, {INPUT: pictures.unit(np.stack(some))}, OUTPUT)
            if answer.ndim != 3 or answer.shape[:2] != (len(some), 5) or not answer.size:
                raise WeightsError(
                    f"{NETWORK} gave {answer.shape} for {len(some)} pictures",
                    hint=f"it gives ({len(some)}, 5, boxes): train the model again",
                )
            for one in answer:
                boxes, logits = one[:4].T, np.maximum(one[4], np.float32(FLOOR))
                kept = strongest(boxes, logits)
                yield boxes[kept], logits[kept]


def strongest(boxes: FloatArray, logits: FloatArray, most: int = MOST) -> NDArray[np.intp]:
    """Which boxes (A, 4) to keep, strongest first: those that do not overlap a stronger one, ``most`` of them.

    Greedy suppression of what is not the maximum (Felzenszwalb et al., Object Detection with Discriminatively Trained
    Part-Based Models, PAMI 32, 2010).
    """
    left, found = np.argsort(-logits, kind="stable"), list[np.intp]()
    while left.size and len(found) < most:
        found.append(left[0])
        left = left[1:][_overlap(boxes[left[0]], boxes[left[1:]]) <= OVERLAP]
    return np.array(found, dtype=np.intp)


def _overlap(box: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union of a box (4) with others (A, 4); 0 where both are empty."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(sides, 0.0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0))


def _fill(plane: FloatArray, boxes: FloatArray, logits: FloatArray) -> None:
    """Draw boxes into a plane (H, W) of the native grid; where they overlap, the strongest is seen."""
    for (left, top, right, bottom), logit in zip(boxes[::-1], logits[::-1], strict=True):
        rows, columns = _pixels(top, bottom, plane.shape[0]), _pixels(left, right, plane.shape[1])
        plane[rows, columns] = logit


def _pixels(low: float, high: float, length: int) -> slice:
    """The pixels between two shares of a length, one or more."""
    first = min(max(round(float(low) * length), 0), length - 1)
    return slice(first, min(max(round(float(high) * length), first + 1), length))
