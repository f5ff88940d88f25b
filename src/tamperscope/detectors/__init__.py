"""One kind of evidence per file. `from_card` makes the one that a Card drives."""

from __future__ import annotations

from collections.abc import Callable

from tamperscope import weights
from tamperscope.detectors.detector import Detector
from tamperscope.detectors.noise import NoiseDetector
from tamperscope.detectors.trace import TraceDetector
from tamperscope.errors import UsageError
from tamperscope.weights import Card

__all__ = [
    "Detector",
    "NoiseDetector",
    "TraceDetector",
    "chosen_card",
    "default_cards",
    "from_card",
    "packaged_cards",
]

ON_REQUEST = frozenset({"ct-accurate", "ct-noise"})
"""Cards that judge where they are asked for by name: too slow to look at everything, or too weak."""


def packaged_cards() -> tuple[Card, ...]:
    """The Cards of the package in the order of their say: networks before the classical detector."""
    return tuple(sorted(weights.packaged(), key=lambda card: (card.file is None, card.name)))


def default_cards() -> tuple[Card, ...]:
    """Those of the package that look at everything, in the order of their say."""
    return tuple(card for card in packaged_cards() if card.name not in ON_REQUEST)


def chosen_card(name: str) -> Card:
    """The packaged Card of this name.

    Raises:
        UsageError: there is none.
    """
    cards = packaged_cards()
    for card in cards:
        if card.name == name:
            return card
    raise UsageError(f"no model is called {name}", hint=f"there are {', '.join(card.name for card in cards)}")


def from_card(card: Card, threads: int | None = None, tick: Callable[[int, int], None] | None = None) -> Detector:
    """The detector that a Card drives: the network if it has one, else the classical noise detector."""
    return TraceDetector(card, threads, tick) if card.file else NoiseDetector(card)
