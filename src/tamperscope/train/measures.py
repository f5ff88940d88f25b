"""What a look at the part calibrate may be told by, and a training stopped by: a recipe chooses one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tamperscope.errors import UsageError
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.ranking import auprc, detection_rate
from tamperscope.records import FloatArray

FALSE_ALARMS = 0.05
"""Share of authentic inputs flagged, at which `found` counts: a look has some hundred, too few for 1 %."""


def found(forged: FloatArray, authentic: FloatArray) -> float:
    """Share of forged inputs above what all but 5 % of the authentic ones reach.

    Raises:
        UsageError: fewer than 20 authentic inputs are looked at.
    """
    if len(authentic) * FALSE_ALARMS < 1.0:
        raise UsageError(
            f'measure = "found" with {len(authentic)} authentic inputs of the part calibrate',
            hint=f"raise validate to {2 / FALSE_ALARMS:.0f} or more, or choose another measure",
        )
    return detection_rate(forged, authentic, FALSE_ALARMS)


def minus_loss(forged: FloatArray, authentic: FloatArray) -> float:
    """Minus the cross-entropy of logits (P,) and (N,), both sides weighing alike."""
    return -0.5 * float(np.logaddexp(0.0, -forged).mean() + np.logaddexp(0.0, authentic).mean())


MEASURES: Mapping[str, Callable[[FloatArray, FloatArray], float]] = {
    "auroc": auroc,
    "auprc": auprc,
    "found": found,
    "minus_loss": minus_loss,
}
"""One for each of `options.MEASURES`; higher is better."""


def measured(name: str, forged: Sequence[float], authentic: Sequence[float]) -> float:
    """The measure ``name`` of the logits of forged (P) and authentic (N) inputs; NaN where one of them is no number.

    Raises:
        UsageError: see `found`.
    """
    positives, negatives = (np.asarray(one, dtype=np.float32) for one in (forged, authentic))
    if not (np.isfinite(positives).all() and np.isfinite(negatives).all()):
        return math.nan
    return float(MEASURES[name](positives, negatives))
