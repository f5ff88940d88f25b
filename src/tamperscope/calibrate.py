"""From a detector's raw score to a probability, on what held-out authentic patients and their forgeries scored.

The score of a series is the highest of many places, so it grows with the length of the scan. Extreme values undo that
(Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, section 4): above a high threshold the scores
of authentic places fall off exponentially, which gives the number of authentic places that one expects to score as
high in a body of this size. Its logarithm, the surprise, is comparable between a slice and a long scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from tamperscope.records import Evidence, FloatArray, OperatingPoint

LN10 = float(np.log(10.0))
EXPECTED_SURPRISE = 0.346
"""Mean of the positive part of the surprise if all authentic series were alike (see `fit_dispersion`)."""
FLATTEST = 0.05
"""Least slope of the curve: a detector whose highest score tells nothing gets a nearly flat one and keeps its order."""


class Curve(Protocol):
    """From a raw score to a probability, and the probability from which a series is suspicious."""

    def probability(self, score: ArrayLike, places: float) -> NDArray[np.floating[Any]]:
        """Probability of tampering of a highest score among ``places`` places; same shape as ``score``."""
        ...

    def operating_point(self, false_positive_rate: float) -> OperatingPoint:
        """The probability that one authentic series in 1 / ``false_positive_rate`` reaches."""
        ...


@dataclass(frozen=True, slots=True)
class Tail:
    """How scores of authentic places fall off: P(score > s) = share · exp(-(s - start) / scale) for s above start."""

    start: float
    share: float
    scale: float

    def surprise(self, score: ArrayLike, places: float) -> FloatArray:
        """-log10 of the number of authentic places expected above ``score`` in ``places`` of them.

        Linear in the score, below ``start`` too: there it only has to keep the order.
        """
        expected = np.log(self.share * max(places, 1.0)) - (np.asarray(score, float) - self.start) / self.scale
        return np.asarray(-expected / LN10, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Tail of the authentic places, and the logistic curve (slope, offset) from surprise to probability."""

    tail: Tail
    slope: float
    offset: float
    miss_rates: tuple[tuple[float, float], ...] = ()
    """(false alarms per authentic series, share of held-out simulated forgeries missed at that point)."""
    dispersion: float = 1.0
    """How much wider the surprise of whole authentic series spreads than the pooled tail says: patients differ."""

    def probability(self, score: ArrayLike, places: float) -> FloatArray:
        """Calibrated probability of tampering of a highest score among ``places`` places; same shape as ``score``."""
        return _sigmoid(self.slope * self.tail.surprise(score, places) + self.offset)

    def operating_point(self, false_positive_rate: float) -> OperatingPoint:
        """The probability that one authentic series in 1 / ``false_positive_rate`` reaches.

        A series raises a false alarm with probability 1 - exp(-E) where E authentic places are expected above the
        score (places taken as independent, which errs on the safe side); the border is then widened by the dispersion.
        """
        border = self.border(false_positive_rate)
        threshold = float(_sigmoid(np.float32(self.slope * border + self.offset)))
        return OperatingPoint(false_positive_rate, threshold, self._miss_rate(false_positive_rate))

    def border(self, false_positive_rate: float) -> float:
        """The surprise that this share of authentic series reaches."""
        return self.dispersion * float(-np.log10(-np.log1p(-false_positive_rate)))

    def _miss_rate(self, false_positive_rate: float) -> float | None:
        """Between the measured points along the logarithm of the rate; None outside of them."""
        measured = sorted(self.miss_rates)
        if not measured or not measured[0][0] <= false_positive_rate <= measured[-1][0]:
            return None
        rates, misses = zip(*measured, strict=True)
        return float(np.interp(np.log10(false_positive_rate), np.log10(rates), misses))


def calibrated(evidence: Evidence, calibration: Curve) -> Evidence:
    """``evidence`` with probability, heat map and slice scores on the probability scale.

    All of them take the whole series for the number of places, so the heat map's maximum in the body is the
    probability of the series.
    """
    if evidence.score is None:
        return evidence
    places = evidence.places
    return replace(
        evidence,
        probability=float(calibration.probability(evidence.score, places)),
        heatmap=None if evidence.heatmap is None else _probabilities(evidence.heatmap, calibration, places),
        slice_scores=tuple(float(p) for p in calibration.probability(evidence.slice_scores, places)),
    )


def _probabilities(raw: FloatArray, calibration: Curve, places: float) -> FloatArray:
    """A raw map (D, H, W) on the probability scale, slice by slice: a long scan's map is never held three times."""
    heatmap = np.empty_like(raw)
    for k, plane in enumerate(raw):
        heatmap[k] = calibration.probability(plane, places)
    return heatmap


def fit_tail(scores: ArrayLike, share: float = 0.05, weights: ArrayLike | None = None) -> Tail:
    """The exponential tail above the (1 - ``share``) quantile of authentic place scores.

    The maximum-likelihood scale of an exponential is the mean excess (Coles 2001, section 4.3.2 with shape 0).
    ``weights``, one a score, let each patient count alike however many places a scan has; all alike if None.

    Raises:
        ValueError: fewer than 20 scores would carry the tail.
    """
    values = np.asarray(scores, float)
    weight = np.ones_like(values) if weights is None else np.asarray(weights, float)
    weight = weight / weight.sum()
    start = float(np.quantile(values, 1.0 - share, weights=weight, method="inverted_cdf"))
    above = values > start
    if above.sum() < 20:
        raise ValueError(f"{above.sum()} scores above the {1 - share:.0%} quantile; a tail needs 20")
    tail = float(weight[above].sum())
    return Tail(start, tail, float((weight[above] * (values[above] - start)).sum() / tail))


def fit_dispersion(surprises: ArrayLike, weights: ArrayLike) -> float:
    """Mean positive surprise of authentic series against what the pooled tail alone would give; at least 1.

    Were all patients alike, the surprise t of a series would have P(t > x) = 1 - exp(-10^-x), whose positive part has
    the mean 0.346. Patients are not alike, and the ratio is the overdispersion (McCullagh and Nelder, Generalized
    Linear Models, 1989, section 4.5).
    """
    positive = np.maximum(np.asarray(surprises, float), 0.0)
    return max(1.0, float(np.average(positive, weights=np.asarray(weights, float))) / EXPECTED_SURPRISE)


def fit_curve(authentic: Sequence[float], forged: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the logistic curve from surprise to probability, both classes weighing alike.

    Platt's targets keep it finite where the classes do not overlap (Platt, Probabilistic Outputs for Support Vector
    Machines, 1999, section 2.2).
    """
    surprise = np.concatenate([authentic, forged]).astype(float)
    counts = len(authentic), len(forged)
    target = np.concatenate(
        [np.full(counts[0], 1.0 / (counts[0] + 2.0)), np.full(counts[1], (counts[1] + 1.0) / (counts[1] + 2.0))]
    )
    weight = np.concatenate([np.full(counts[0], 0.5 / counts[0]), np.full(counts[1], 0.5 / counts[1])])

    def loss(curve: np.ndarray) -> float:
        logit = curve[0] * surprise + curve[1]
        return float(np.sum(weight * (np.logaddexp(0.0, logit) - target * logit)))

    bounds = [(FLATTEST, None), (None, None)]
    slope, offset = optimize.minimize(loss, np.array([1.0, -1.0]), method="Nelder-Mead", bounds=bounds).x
    return float(slope), float(offset)


def _sigmoid(logit: ArrayLike) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(np.asarray(logit, np.float32), -80.0, 80.0))), dtype=np.float32)
