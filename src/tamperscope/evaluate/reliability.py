"""Do probabilities mean what they say, and is the tool right where it dares to answer?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tamperscope.evaluate import inputs

BINS = 15
"""As in Guo et al., On calibration of modern neural networks, ICML 2017."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """A reliability diagram: one entry for each bin that holds cases, by rising probability, (B) each."""

    probabilities: NDArray[np.float64]
    """Mean of what was said."""
    frequencies: NDArray[np.float64]
    """Share of cases in which it came true."""
    counts: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """Error among the answered cases against the share answered, the surest first; float64 (T) each."""

    thresholds: NDArray[np.float64]
    """Falling; a case is answered where its confidence is at least this."""
    coverages: NDArray[np.float64]
    risks: NDArray[np.float64]


def reliability_curve(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = BINS) -> Reliability:
    """Mean probability and frequency in bins that hold the same number of cases.

    Equal probabilities stay in one bin, so the order of the cases does not matter, and bins differ in size where there
    are many ties. DeGroot and Fienberg, The comparison and evaluation of forecasters, The Statistician 32, 1983.

    Args:
        probabilities: (N), 0 to 1.
        outcomes: (N), bool or 0 and 1: whether the case is forged.
        bins: at most this many; those without cases are left out.

    Raises:
        UsageError: shapes that differ, or less than one bin.
        InputError: probabilities outside 0 to 1, or outcomes that are neither true nor false.
    """
    said = inputs.probabilities("probabilities", probabilities)
    came_true = inputs.flags("outcomes", outcomes, said.size)
    inputs.at_least("the number of bins", bins, 1)
    # Average ranks are shared by ties; rank r of 1 to N covers the stretch from r - 1 to r.
    middle = np.asarray(stats.rankdata(said), np.float64) - 0.5
    place = np.floor(middle * bins / max(said.size, 1)).astype(np.intp)
    counts = np.bincount(place, minlength=bins)
    held = counts > 0
    sums = (np.bincount(place, weights=values, minlength=bins)[held] for values in (said, came_true))
    probability, frequency = (total / counts[held] for total in sums)
    return Reliability(probability, frequency, counts[held])


def ece(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: mean gap between probability and frequency over equal-count bins, by their counts.

    Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015; equal
    counts as in Nguyen and O'Connor, Posterior calibration and exploratory analysis for natural language processing
    models, EMNLP 2015. With few cases in a bin it is above 0 for perfect probabilities too: compare at equal numbers.
    NaN without cases.

    Args:
        probabilities: (N), 0 to 1.
        outcomes: (N), bool or 0 and 1: whether the case is forged.
        bins: see `reliability_curve`.

    Raises:
        UsageError: shapes that differ, or less than one bin.
        InputError: probabilities outside 0 to 1, or outcomes that are neither true nor false.
    """
    curve = reliability_curve(probabilities, outcomes, bins)
    if curve.counts.size == 0:
        return float("nan")
    return float(np.average(np.abs(curve.probabilities - curve.frequencies), weights=curve.counts))


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Mean squared difference between probability (N) and outcome (N), 0 is best (Brier, Monthly Weather Review, 1950).

    This is the form for two classes, half of Brier's sum over both. NaN without cases.

    Raises:
        UsageError: shapes that differ.
        InputError: probabilities outside 0 to 1, or outcomes that are neither true nor false.
    """
    said = inputs.probabilities("probabilities", probabilities)
    came_true = inputs.flags("outcomes", outcomes, said.size)
    return float(np.mean((said - came_true) ** 2)) if said.size else float("nan")


def risk_coverage(confidences: ArrayLike, wrong: ArrayLike) -> RiskCoverage:
    """Risk-coverage curve (El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 2010).

    Cases of equal confidence are answered together: one point for each different confidence; none without cases.

    Args:
        confidences: (N), higher is surer, on any scale; say, the distance from the threshold.
        wrong: (N), bool or 0 and 1: whether the answer would be wrong.

    Raises:
        UsageError: shapes that differ.
        InputError: confidences that are not finite, or ``wrong`` neither true nor false.
    """
    thresholds, answered, errors = _answered(confidences, wrong)
    return RiskCoverage(thresholds, answered / answered[-1:], errors / answered)


def risk_coverage_area(confidences: ArrayLike, wrong: ArrayLike) -> float:
    """Mean risk over all numbers of answered cases, 1 to N: lower is better.

    AURC of Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR 2019.
    Cases of equal confidence are answered in random order; the value is the expectation over it. NaN without cases.

    Args:
        confidences: (N), higher is surer, on any scale.
        wrong: (N), bool or 0 and 1: whether the answer would be wrong.

    Raises:
        UsageError: shapes that differ.
        InputError: confidences that are not finite, or ``wrong`` neither true nor false.
    """
    _, answered, errors = _answered(confidences, wrong)
    if answered.size == 0:
        return float("nan")
    # Expected errors grow evenly within a group of ties, hence linearly between the points.
    each = np.arange(1, answered[-1] + 1)
    expected = np.interp(each, np.concatenate([[0], answered]), np.concatenate([[0], errors]))
    return float(np.mean(expected / each))


def _answered(
    confidences: ArrayLike, wrong: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Different confidences, falling; how many cases reach each, and how many of these are wrong; (T) each."""
    surety = inputs.scores("confidences", confidences)
    mistaken = inputs.flags("answers", wrong, surety.size)
    levels, place, counts = np.unique(-surety, return_inverse=True, return_counts=True)
    errors = np.bincount(place, weights=mistaken, minlength=levels.size)
    return -levels, np.cumsum(counts), np.cumsum(errors)
