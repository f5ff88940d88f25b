"""How often somebody may ask: a bucket of tokens each, which fills again at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 10_000
"""Buckets that are kept; the one that was longest unused is forgotten."""


@dataclass(slots=True)
class Throttle:
    """``per_minute`` requests in the long run, ``burst`` at once."""

    per_minute: float
    burst: float
    now: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, init=False, repr=False)

    def wait(self, who: str, cost: float = 1.0) -> float:
        """Take from the bucket of ``who``: 0 if there was enough in it, else the seconds until there will be."""
        level, rate = self._level(who), self.per_minute / 60.0
        enough = level >= cost
        self._buckets[who] = (level - cost if enough else level), self.now()
        self._buckets.move_to_end(who)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return 0.0 if enough else (cost - level) / rate

    def back(self, who: str, cost: float = 1.0) -> None:
        """Give back what was taken for something that turned out well."""
        self._buckets[who] = min(self.burst, self._level(who) + cost), self.now()

    def empty(self, who: str) -> float:
        """Seconds until ``who`` may ask again, without taking anything; 0 for at once."""
        return max(1.0 - self._level(who), 0.0) / (self.per_minute / 60.0)

    def _level(self, who: str) -> float:
        level, since = self._buckets.get(who, (self.burst, self.now()))
        return min(self.burst, level + (self.now() - since) * self.per_minute / 60.0)
