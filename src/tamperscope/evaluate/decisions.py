"""Right and wrong decisions at a threshold that was fixed on other cases: the confusion matrix and its rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from tamperscope.evaluate import inputs

ROUNDING = 1e-9
"""100 scores allow 29 false alarms at 0.29, although 100 x 0.29 is 28.999999999999996 in floating point."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many cases of each kind; a positive is a forged case, a true one was decided rightly.

    Rates are NaN where nothing stands below the fraction line. Names as in Fawcett, An introduction to ROC analysis,
    Pattern Recognition Letters 27, 2006, figure 1.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def __post_init__(self) -> None:
        for one in fields(self):
            inputs.at_least(one.name.replace("_", " "), getattr(self, one.name), 0)

    @property
    def accuracy(self) -> float:
        """Share of cases decided rightly; NaN without cases. It depends on the prevalence."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """Share of forged cases among the flagged; NaN where none is flagged. It depends on the prevalence."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of forged cases that are flagged, the sensitivity; NaN without forged cases."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float:
        """Share of authentic cases that are left alone; NaN without authentic cases."""
        return _ratio(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def false_alarm_rate(self) -> float:
        """Share of authentic cases that are flagged, 1 - specificity; NaN without authentic cases."""
        return _ratio(self.false_positives, self.true_negatives + self.false_positives)

    @property
    def f1(self) -> float:
        """2TP / (2TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen, 1979).

        NaN where nothing is forged and nothing flagged.
        """
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and specificity (Brodersen et al., ICPR 2010); NaN where either is."""
        return (self.recall + self.specificity) / 2.0


def at(positives: ArrayLike, negatives: ArrayLike, threshold: float) -> Confusion:
    """The confusion matrix of scores of forged (P) and authentic (N) cases, flagged from ``threshold`` on.

    A score equal to the threshold is flagged, as in the verdict.

    Raises:
        UsageError: scores that are not one-dimensional, or a threshold of NaN.
        InputError: scores that are not finite.
    """
    forged, authentic = inputs.scores("scores", positives), inputs.scores("scores", negatives)
    border = inputs.threshold(threshold)
    hits, alarms = int((forged >= border).sum()), int((authentic >= border).sum())
    return Confusion(hits, alarms, forged.size - hits, authentic.size - alarms)


def threshold_for(negatives: ArrayLike, false_alarms: float) -> float:
    """The lowest threshold that flags at most a share ``false_alarms`` of the authentic scores (N).

    Give it scores of the VALIDATION part: a threshold chosen on the test part makes its own false-alarm rate come
    true. What it gives elsewhere is `Confusion.false_alarm_rate`. It lies just above the (1 - ``false_alarms``)
    quantile, the inverse of the empirical distribution function (definition 1 of Hyndman and Fan, The American
    Statistician 50, 1996), so tied scores never raise the rate above what was asked for.

    NaN, "not measurable", with fewer than 1 / ``false_alarms`` scores; a share of 0 takes any number but none.

    Raises:
        UsageError: a share outside 0 to 1 (1 itself too), or scores that are not one-dimensional.
        InputError: scores that are not finite.
    """
    rate = inputs.share("a false-alarm rate of", false_alarms, closed=True)
    authentic = inputs.scores("scores", negatives)
    allowed = int(authentic.size * rate + ROUNDING)
    if authentic.size == 0 or (rate > 0.0 and allowed < 1):
        return math.nan
    place = max(authentic.size - 1 - allowed, 0)
    return float(np.nextafter(np.partition(authentic, place)[place], np.inf))


def _ratio(part: int, whole: int) -> float:
    return part / (whole or math.nan)
