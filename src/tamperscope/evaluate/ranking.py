"""How well scores put forged cases above authentic ones, whatever the threshold: ROC, precision and recall, Pd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamperscope.evaluate import inputs
from tamperscope.evaluate.decisions import threshold_for


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """The ROC curve, from nothing flagged to everything; float64 (T + 1) each for T different scores.

    The area under the straight lines between the points is `metrics.auroc`.
    """

    thresholds: NDArray[np.float64]
    """Falling; a case is flagged where its score is at least this. The first is infinite and flags nothing."""
    false_alarm_rates: NDArray[np.float64]
    detection_rates: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Precision against recall; float64 (T) each for T different scores.

    The point at recall 0 is left out: nothing is flagged there, and precision has no value. Points are not to be joined
    by straight lines (Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006).
    """

    thresholds: NDArray[np.float64]
    """Falling; a case is flagged where its score is at least this."""
    precisions: NDArray[np.float64]
    recalls: NDArray[np.float64]


def tally(positives: ArrayLike, negatives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Different scores of forged (P) and authentic (N) cases, falling; how many of each side reach them; (T) each.

    Raises:
        UsageError: scores that are not one-dimensional.
        InputError: scores that are not finite.
    """
    sides = [np.sort(inputs.scores("scores", side)) for side in (positives, negatives)]
    thresholds = np.unique(np.concatenate(sides))[::-1]
    hits, alarms = (side.size - np.searchsorted(side, thresholds) for side in sides)
    return thresholds, hits, alarms


def roc(positives: ArrayLike, negatives: ArrayLike) -> Roc:
    """ROC curve of scores of forged (P) and authentic (N) cases, one point for each different score.

    Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006, algorithm 1. The rates of a side
    that is empty are NaN.

    Raises:
        UsageError: scores that are not one-dimensional.
        InputError: scores that are not finite.
    """
    thresholds, hits, alarms = tally(positives, negatives)
    return Roc(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0], alarms]) / (np.size(negatives) or np.nan),
        np.concatenate([[0], hits]) / (np.size(positives) or np.nan),
    )


def precision_recall(positives: ArrayLike, negatives: ArrayLike) -> PrecisionRecall:
    """Precision and recall of scores of forged (P) and authentic (N) cases, one point for each different score.

    Recall is NaN without forged cases. Precision depends on the share of forged cases: state it.

    Raises:
        UsageError: scores that are not one-dimensional.
        InputError: scores that are not finite.
    """
    thresholds, hits, alarms = tally(positives, negatives)
    return PrecisionRecall(thresholds, hits / (hits + alarms), hits / (np.size(positives) or np.nan))


def auprc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Average precision: the precision at each different score, weighted by what recall gains there.

    A step function, so nothing is read between the points; tied cases are flagged together (Boyd, Eng and Page, Area
    under the precision-recall curve, ECML PKDD 2013). Scores without any worth give the share of forged
    cases, which is to be stated beside it. NaN where one side is empty.

    Raises:
        UsageError: scores that are not one-dimensional.
        InputError: scores that are not finite.
    """
    curve = precision_recall(positives, negatives)
    if np.size(positives) == 0 or np.size(negatives) == 0:
        return float("nan")
    return float(np.sum(np.diff(curve.recalls, prepend=0.0) * curve.precisions))


def detection_rate(positives: ArrayLike, negatives: ArrayLike, alpha: float) -> float:
    """Pd@``alpha``: share of forged scores (P) above the (1 - ``alpha``) quantile of the authentic ones (N).

    The quantile is that of `decisions.threshold_for`, on the same cases that are measured: it says how well the two
    can be told apart, not what a threshold fixed beforehand would find. M3Dsynth (Zingarini et al., ICASSP 2024)
    reports it at 1 %. NaN, "not measurable", with fewer than 1 / ``alpha`` authentic cases or no forged one.

    Raises:
        UsageError: ``alpha`` is not between 0 and 1, or scores are not one-dimensional.
        InputError: scores that are not finite.
    """
    threshold = threshold_for(negatives, inputs.share("an alpha of", alpha))
    forged = inputs.scores("scores", positives)
    if forged.size == 0 or np.isnan(threshold):
        return float("nan")
    return float(np.mean(forged >= threshold))
