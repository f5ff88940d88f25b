"""How sure is a number? Intervals and tests that know what belongs together: scans of a patient, models on a case.

Rows are cases: a row has a patient, and a score by each model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tamperscope.errors import UsageError
from tamperscope.evaluate import inputs

Rows: TypeAlias = NDArray[np.intp]
Statistic: TypeAlias = Callable[[Rows], float]
"""From indices of rows, of which some come several times, to a number; NaN where these rows give none."""

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the number lies; NaN where it cannot be said."""

    low: float
    high: float
    dropped: int = 0
    """Resamples that gave NaN and were left out. Where they are many, the interval is of the others only."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First model less second: estimate, interval, and the two-sided p-value of "no difference"; NaN if unknown."""

    estimate: float
    low: float
    high: float
    p_value: float
    dropped: int = 0
    """Resamples that gave NaN and were left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Delong:
    """AUROCs of K models on the same cases (K), and their covariance (K, K); float64."""

    aurocs: NDArray[np.float64]
    covariance: NDArray[np.float64]


def bootstrap(
    statistic: Statistic,
    groups: Sequence[Hashable],
    rng: np.random.Generator,
    count: int = 1000,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of a statistic, whole patients drawn with replacement.

    Rutter, Bootstrap estimation of diagnostic accuracy with patient-clustered data, Academic Radiology 7, 2000. Drawing
    scans instead would count a patient with ten scans as ten witnesses, and give an interval that is too short.

    Args:
        statistic: see `Statistic`. To draw forged and authentic cases of patients together, let it pick its rows.
        groups: the patient of each row (N).
        rng: where the draws come from.
        count: number of resamples.
        level: share of intervals that are to hold the true value.

    Returns:
        The interval; NaN with fewer than two patients, or where no resample gives a number.

    Raises:
        UsageError: less than one resample, a level that is not between 0 and 1, or groups that are no names.
    """
    values, dropped = _resampled(statistic, groups, rng, count)
    return Interval(*_percentiles(values, level), dropped)


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    groups: Sequence[Hashable],
    rng: np.random.Generator,
    count: int = 1000,
    level: float = LEVEL,
) -> Difference:
    """The difference of a statistic of two models on the same rows, whole patients drawn, the same for both.

    The p-value is the least 1 - level whose interval leaves 0 outside (Efron and Tibshirani, An introduction to the
    bootstrap, 1993, chapter 15), each tail counted with one more resample, so it is never 0.

    Args:
        first: statistic of the first model; see `Statistic`.
        second: that of the second.
        groups: the patient of each row (N).
        rng: where the draws come from.
        count: number of resamples.
        level: share of intervals that are to hold the true difference.

    Returns:
        The difference, with NaN as in `bootstrap`.

    Raises:
        UsageError: less than one resample, a level that is not between 0 and 1, or groups that are no names.
    """

    def difference(rows: Rows) -> float:
        return first(rows) - second(rows)

    values, dropped = _resampled(difference, groups, rng, count)
    low, high = _percentiles(values, level)
    estimate = float(difference(np.arange(len(groups)))) if len(groups) else float("nan")
    if values.size == 0:
        return Difference(estimate, low, high, float("nan"), dropped)
    tail = min(int((values <= 0.0).sum()), int((values >= 0.0).sum()))
    return Difference(estimate, low, high, min(1.0, 2.0 * (1 + tail) / (1 + values.size)), dropped)


def delong(positives: ArrayLike, negatives: ArrayLike) -> Delong:
    """AUROCs of K models and their covariance, by midranks.

    DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44, 1988; in the form of Sun and Xu, Fast implementation of DeLong's algorithm,
    IEEE Signal Processing Letters 21, 2014. It takes cases as independent: one row for each patient, or `bootstrap`.

    Args:
        positives: scores (K, P) of forged cases, a row for each model.
        negatives: scores (K, N) of authentic cases, models in the same order.

    Returns:
        AUROCs, NaN where one side is empty; covariance, NaN where one side has fewer than two cases.

    Raises:
        UsageError: not two-dimensional, or another number of models.
        InputError: scores that are not finite.
    """
    return _delong(*_wins(positives, negatives))


def delong_test(positives: ArrayLike, negatives: ArrayLike, level: float = LEVEL) -> Difference:
    """Whether two models have the same AUROC, on the same cases: DeLong's test, with the normal interval.

    Args:
        positives: scores (2, P) of forged cases, a row for each model.
        negatives: scores (2, N) of authentic cases, models in the same order.
        level: share of intervals that are to hold the true difference.

    Returns:
        The difference; interval and p-value are NaN with fewer than two cases on a side, and where a difference shows
        no variance at all. Models that rank alike differ by 0, with p = 1.

    Raises:
        UsageError: not two models, or a level that is not between 0 and 1.
        InputError: scores that are not finite.
    """
    z = float(stats.norm.ppf(0.5 + inputs.share("a level of", level) / 2.0))
    wins = _wins(positives, negatives)
    if len(wins[0]) != 2:
        raise UsageError(f"{len(wins[0])} models", hint="compare two, and correct many pairs with holm")
    # The estimate is linear in the wins, so their difference has the variance of the contrast, and exactly 0 if it is.
    gap = _delong(*(side[:1] - side[1:] for side in wins))
    estimate, error = float(gap.aurocs[0]), float(np.sqrt(gap.covariance[0, 0]))
    if error == 0.0 and estimate != 0.0:
        return Difference(estimate, float("nan"), float("nan"), float("nan"))
    p_value = 1.0 if error == 0.0 else float(2.0 * stats.norm.sf(abs(estimate) / error))
    return Difference(estimate, estimate - z * error, estimate + z * error, p_value)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values (M) corrected for their number, in the same order: reject where they are at most the level.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979: chance
    of any false rejection at most the level, however the tests depend on each other. NaN, a test that could not be
    carried out, stays NaN and counts as one of the M.

    Raises:
        UsageError: not one-dimensional.
        InputError: not between 0 and 1.
    """
    given = inputs.numbers("p-values", p_values)
    missing = np.isnan(given)
    values = inputs.probabilities("p-values", np.where(missing, 1.0, given))
    order = np.argsort(values)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)), 1.0)
    return np.where(missing, np.nan, corrected)


def _resampled(
    statistic: Statistic, groups: Sequence[Hashable], rng: np.random.Generator, count: int
) -> tuple[NDArray[np.float64], int]:
    """The statistic of each resample of groups that gave a number, and how many gave none."""
    inputs.at_least("the number of resamples", count, 1)
    members = _members(groups)
    if len(members) < 2:
        return np.empty(0), 0
    draws = rng.integers(len(members), size=(count, len(members)))
    values = np.array([statistic(np.concatenate([members[n] for n in draw])) for draw in draws], dtype=np.float64)
    kept = values[~np.isnan(values)]
    return kept, int(values.size - kept.size)


def _members(groups: Sequence[Hashable]) -> list[Rows]:
    """The rows of each group, groups in the order of their first row: the draws do not depend on their names."""
    rows: dict[Hashable, list[int]] = {}
    for n, group in enumerate(groups):
        if not isinstance(group, Hashable):
            raise UsageError(f"a group of type {type(group).__name__}", hint="give one name or number for each row")
        rows.setdefault(group, []).append(n)
    return [np.array(one, dtype=np.intp) for one in rows.values()]


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    half = inputs.share("a level of", level) / 2.0
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.5 - half, 0.5 + half])
    return float(low), float(high)


def _wins(positives: ArrayLike, negatives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many of the other side each case is on the right side of, ties half: exact, (K, P) and (K, N)."""
    forged, authentic = (inputs.scores("scores", side, dimensions=2) for side in (positives, negatives))
    if len(forged) != len(authentic):
        raise UsageError(
            f"{len(forged)} models on forged cases, {len(authentic)} on authentic ones", hint="give the same models"
        )
    count = forged.shape[1]
    # Sun and Xu, algorithm 2: a rank among all less the rank on one's own side.
    ranks = _midranks(np.concatenate([forged, authentic], axis=1))
    return ranks[:, :count] - _midranks(forged), count - (ranks[:, count:] - _midranks(authentic))


def _delong(above: NDArray[np.float64], below: NDArray[np.float64]) -> Delong:
    """DeLong et al., equations 3 to 5, from wins (K, P) and (K, N)."""
    models, (p, n) = len(above), (above.shape[1], below.shape[1])
    if p == 0 or n == 0:
        return Delong(np.full(models, np.nan), np.full((models, models), np.nan))
    return Delong(above.mean(axis=1) / n, _covariance(above) / (p * n**2) + _covariance(below) / (n * p**2))


def _midranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along each row (K, N), ties sharing their mean (Sun and Xu, algorithm 1)."""
    return np.asarray(stats.rankdata(scores, axis=1), dtype=np.float64)


def _covariance(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (K, K) of rows (K, N); NaN with fewer than two columns."""
    models, cases = parts.shape
    return np.atleast_2d(np.cov(parts)) if cases > 1 else np.full((models, models), np.nan)
