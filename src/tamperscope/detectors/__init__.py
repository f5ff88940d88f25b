"""One kind of evidence per file. `from_card` makes the one that a Card drives."""

from __future__ import annotations

from collections.abc import Callable

from tamperscope import weights
from tamperscope.detectors.detector import Detector
from tamperscope.detectors.header import provenance
from tamperscope.detectors.noise import NoiseDetector
from tamperscope.detectors.trace import TraceDetector
from tamperscope.weights import Card

__all__ = ["Detector", "NoiseDetector", "TraceDetector", "from_card", "packaged_cards", "provenance"]


def packaged_cards() -> tuple[Card, ...]:
    """The Cards of the package in the order of their say: networks before the classical detector."""
    return tuple(sorted(weights.packaged(), key=lambda card: (card.file is None, card.name)))


def from_card(card: Card, threads: int | None = None, tick: Callable[[int, int], None] | None = None) -> Detector:
    """The detector that a Card drives: the network if it has one, else the classical noise detector."""
    return TraceDetector(card, threads, tick) if card.file else NoiseDetector(card)
