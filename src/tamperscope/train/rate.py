"""The learning rate of all networks but those of `trace_loop`."""

from __future__ import annotations

import math

from torch.optim import Optimizer

WARM_UP = 50
"""Steps."""
LAST = 0.05
"""Share of the highest rate at the last step."""


def set_rate(optimiser: Optimizer, highest: float, number: int, steps: int) -> None:
    """Rate of the step after ``number`` others: a linear warm-up, then half a cosine down over ``steps``.

    Loshchilov and Hutter, SGDR, ICLR 2017, equation 5. Beyond ``steps`` it stays at its lowest.
    """
    if number < WARM_UP:
        share = (number + 1) / WARM_UP
    else:
        done = min((number - WARM_UP) / max(steps - WARM_UP, 1), 1.0)
        share = LAST + (1.0 - LAST) * 0.5 * (1.0 + math.cos(math.pi * done))
    for group in optimiser.param_groups:
        group["lr"] = highest * share
