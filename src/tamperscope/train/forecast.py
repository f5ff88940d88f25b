"""When will it be over? Said once at the start of a long training."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from tamperscope.train.recipe import Training

WARM_UP, MEASURED = 1, 5
"""Steps that do not count, the first is slow; and those that are timed after them."""
LONG_MINUTES = 30.0


class Forecast:
    """Is called before every step, with the number of steps that are done."""

    def __init__(self, plan: Training, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._say, self._clock = plan, say, clock
        self._calls, self._started = 0, 0.0

    def __call__(self, done: int) -> None:
        """Note the time; after a few steps, say how long a long training goes on."""
        if self._calls == WARM_UP:
            self._started = self._clock()
        elif self._calls == WARM_UP + MEASURED:
            minutes = self._minutes(done, (self._clock() - self._started) / MEASURED)
            if minutes >= LONG_MINUTES:
                end = datetime.now().astimezone() + timedelta(minutes=minutes)
                self._say(
                    f"about {minutes:.0f} minutes to go at most, until {end:%Y-%m-%d %H:%M}, and the looks at the part "
                    "calibrate; the same command goes on if it is stopped"
                )
        self._calls += 1

    def _minutes(self, done: int, seconds: float) -> float:
        left = (self._plan.steps - done) * seconds / 60.0
        return left if self._plan.minutes is None else min(left, self._plan.minutes)
