"""Twenty-four numbers that describe the texture of a picture, for classifiers that learn from features.

Alheeti et al., Intelligent Deep Detection Method for Malicious Tampering of Cancer Imagery, CDMA 2022, feed 24
features to their network and do not name them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamperscope.records import FloatArray

# Why 24: the source gives the number only. Four kinds of texture share it: eight numbers of the levels, eight of
# Haralick's for pairs of neighbours, and four each of the gradient and the spectrum, whose classic numbers are fewer.
NAMES = (
    # First order: of the levels, wherever they lie. The first three and the percentiles are in the picture's unit.
    "mean",
    "deviation",
    "median",
    "percentile_5",
    "percentile_95",
    "skewness",
    "kurtosis",
    "entropy",
    # Second order: of neighbouring pixels (Haralick et al., IEEE SMC 3(6), 1973; his numbers in brackets).
    "pair_energy",  # f1, angular second moment
    "pair_contrast",  # f2
    "pair_correlation",  # f3
    "pair_homogeneity",  # f5, inverse difference moment
    "pair_sum_entropy",  # f8
    "pair_entropy",  # f9
    "pair_difference_entropy",  # f11
    "pair_information",  # f12, first information measure of correlation
    # Gradient: the first two in the picture's unit per pixel.
    "gradient_mean",
    "gradient_deviation",
    "gradient_kurtosis",
    "gradient_direction",
    # Spectrum of the picture without its mean.
    "spectrum_slope",
    "spectrum_low",
    "spectrum_high",
    "spectrum_flatness",
)
LEVELS = 32
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to a neighbour in each of Haralick's four directions."""
LOW, HIGH = 1 / 16, 1 / 4
"""Cycles per pixel below which a frequency is low, and above which it is high."""
FAINT = 1e-12
"""Power, against its mean, below which there is nothing but rounding."""


def texture_features(plane: FloatArray) -> FloatArray:
    """Features float32 (24,), in the order of `NAMES`, of a finite picture (H, W) in any unit.

    All are finite; where a number has no meaning, as the skewness of a constant, it is 0. Entropies are in bits.
    """
    values = np.asarray(plane, dtype=np.float64)
    levels = _levels(values)
    features = [*_first_order(values, levels), *_pairs(levels), *_gradient(values), *_spectrum(values)]
    return np.asarray(features, dtype=np.float32)


def _levels(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """32 equal levels between the 1st and the 99th percentile, beyond which values are clipped; 0 for a constant."""
    low, high = np.percentile(values, (1.0, 99.0))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.intp)
    shares = np.clip((values - low) / (high - low), 0.0, 1.0)
    levels: NDArray[np.intp] = np.minimum(shares * LEVELS, LEVELS - 1).astype(np.intp)
    return levels


def _first_order(values: NDArray[np.float64], levels: NDArray[np.intp]) -> list[float]:
    percentiles = [float(value) for value in np.percentile(values, (50.0, 5.0, 95.0))]
    shares = np.bincount(levels.ravel(), minlength=LEVELS) / levels.size
    spread = float(values.std())
    return [float(values.mean()), spread, *percentiles, _moment(values, 3), _moment(values, 4), _entropy(shares)]


def _pairs(levels: NDArray[np.intp]) -> list[float]:
    """The mean over four directions of what Haralick's matrix of each says."""
    each = [_haralick(_matrix(levels, *step)) for step in NEIGHBOURS]
    return [float(value) for value in np.mean(each, axis=0)]


def _matrix(levels: NDArray[np.intp], down: int, right: int) -> NDArray[np.float64]:
    """How often levels (i, j) are neighbours, symmetric, sum 1. Without any pair, one of level 0 with itself."""
    height, width = levels.shape
    one = levels[: height - down, max(-right, 0) : width - max(right, 0)]
    other = levels[down:, max(right, 0) : width - max(-right, 0)]
    counts = np.bincount((one * LEVELS + other).ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS).astype(float)
    if counts.sum() == 0.0:
        counts[0, 0] = 1.0
    both = counts + counts.T
    return np.asarray(both / both.sum(), dtype=np.float64)


def _haralick(pairs: NDArray[np.float64]) -> list[float]:
    levels = np.arange(LEVELS)
    gaps = np.abs(np.subtract.outer(levels, levels))
    sums, differences = _summed(pairs, np.add.outer(levels, levels)), _summed(pairs, gaps)
    single = pairs.sum(axis=1)  # of rows and of columns alike, since the matrix is symmetric
    centred = levels - float(levels @ single)
    variance = float(centred**2 @ single)
    alone, together = _entropy(single), _entropy(pairs)
    # f12 compares the entropy of pairs with that of independent neighbours, which is twice that of one.
    return [
        float((pairs**2).sum()),
        float(levels**2 @ differences),
        float(centred @ pairs @ centred) / variance if variance > 0.0 else 0.0,
        float((pairs / (1.0 + gaps**2)).sum()),
        _entropy(sums),
        together,
        _entropy(differences),
        (together - 2.0 * alone) / alone if alone > 0.0 else 0.0,
    ]


def _summed(values: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sum of the values at each place."""
    return np.asarray(np.bincount(places.ravel(), weights=values.ravel()), dtype=np.float64)


def _gradient(values: NDArray[np.float64]) -> list[float]:
    """Of differences to the next pixel: any wider operator is blind to the finest texture.

    The direction is 1 where all change lies along the rows, -1 where it lies along the columns.
    """
    if min(values.shape) < 2:
        return [0.0] * 4
    along = values[:-1, 1:] - values[:-1, :-1]
    down = values[1:, :-1] - values[:-1, :-1]
    size = np.hypot(along, down)
    power = float((size**2).sum())
    direction = float((along**2 - down**2).sum()) / power if power > 0.0 else 0.0
    return [float(size.mean()), float(size.std()), _moment(size, 4), direction]


def _spectrum(values: NDArray[np.float64]) -> list[float]:
    """Slope of power over frequency, both as logarithms; shares of low and high frequencies; flatness.

    The window of Hann keeps borders out. Flatness is the geometric over the arithmetic mean: exp(-0.577) = 0.56 for
    white noise, 0 for a single wave.
    """
    window = np.outer(*[np.hanning(side + 2)[1:-1] for side in values.shape])
    power = np.abs(np.fft.fft2((values - values.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side) for side in values.shape], indexing="ij"))
    power, frequency = power[frequency > 0.0], frequency[frequency > 0.0]
    if power.size == 0 or power.sum() <= (FAINT * np.abs(values).max()) ** 2 * values.size**2:
        return [0.0] * 4
    filled = power + FAINT * power.mean()
    low, high = (float(power[chosen].sum() / power.sum()) for chosen in (frequency < LOW, frequency > HIGH))
    return [_slope(frequency, filled), low, high, float(np.exp(np.log(filled).mean()) / filled.mean())]


def _slope(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Of a line through the mean power of rings up to half a cycle per pixel; 0 with fewer than two rings.

    A ring weighs as many times as it has frequencies: the variance of its logarithm falls with their number.
    """
    kept = frequency <= 0.5
    rings = np.floor(frequency[kept] * 2 * LEVELS).astype(np.intp)
    counts = np.bincount(rings)
    filled = counts > 0
    if filled.sum() < 2:
        return 0.0
    means = _summed(power[kept], rings)[filled] / counts[filled]
    middles = _summed(frequency[kept], rings)[filled] / counts[filled]
    return float(np.polyfit(np.log(middles), np.log(means), 1, w=np.sqrt(counts[filled]))[0])


def _moment(values: NDArray[np.float64], order: int) -> float:
    """Standardised moment; of the fourth, the excess over the normal distribution. 0 without spread."""
    spread = float(values.std())
    if spread <= FAINT * max(float(np.abs(values).max()), FAINT):
        return 0.0
    return float((((values - values.mean()) / spread) ** order).mean()) - (3.0 if order == 4 else 0.0)


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0.0]
    return float(-(present * np.log2(present)).sum())
