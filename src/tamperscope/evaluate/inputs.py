"""What the measures accept. Shapes and settings that make no sense are a `UsageError`, bad values an `InputError`.

A metric of NaN scores or of probabilities above 1 looks like any other number, so nothing of that kind passes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamperscope.errors import InputError, UsageError
from tamperscope.records import FloatArray, MaskArray


def numbers(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64, of any shape; NaN too.

    Raises:
        InputError: not numbers.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what} are not numbers: {error}", hint="give an array of floats") from error


def scores(what: str, values: ArrayLike, dimensions: int = 1) -> NDArray[np.float64]:
    """``values`` as float64 with this many dimensions, all finite.

    Raises:
        UsageError: another number of dimensions.
        InputError: not numbers, or NaN or infinite ones among them.
    """
    array = numbers(what, values)
    if array.ndim != dimensions:
        raise UsageError(f"{what} of shape {array.shape}", hint=f"give {dimensions} dimension(s)")
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise InputError(f"{bad} of {array.size} {what} are not finite", hint="leave those cases out and report them")
    return array


def probabilities(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64 (N), each within 0 and 1.

    Raises:
        UsageError: not one-dimensional.
        InputError: not finite numbers from 0 to 1.
    """
    array = scores(what, values)
    outside = array[(array < 0.0) | (array > 1.0)]
    if outside.size:
        raise InputError(f"{what} hold {outside[0]:g}", hint="give numbers from 0 to 1; calibrate raw scores first")
    return array


def flags(what: str, values: ArrayLike, count: int) -> MaskArray:
    """``values`` as bool (``count``); 0 and 1 are taken too.

    Raises:
        UsageError: another shape.
        InputError: something else than true and false.
    """
    array = scores(what, values)
    if array.size != count:
        raise UsageError(f"{array.size} {what} for {count} cases", hint="give one for each case")
    other = array[(array != 0.0) & (array != 1.0)]
    if other.size:
        raise InputError(f"{what} hold {other[0]:g}", hint="give true and false, or 1 and 0")
    return np.asarray(array == 1.0)


def share(what: str, value: float, *, closed: bool = False) -> float:
    """``value``, a share above 0 and below 1; ``closed`` lets 0 pass.

    Raises:
        UsageError: outside of that.
    """
    if not (0.0 < value < 1.0 or (closed and value == 0.0)):
        raise UsageError(f"{what} {value}", hint="give a share between 0 and 1, such as 0.01")
    return float(value)


def threshold(value: float) -> float:
    """``value``, unless it is NaN.

    Raises:
        UsageError: NaN, which is what too few scores to set a threshold by give.
    """
    if math.isnan(value):
        raise UsageError("the threshold is NaN", hint="set it on more authentic cases, or allow more false alarms")
    return float(value)


def at_least(what: str, value: int, least: int) -> int:
    """``value``, unless it is lower than ``least``.

    Raises:
        UsageError: it is.
    """
    if value < least:
        raise UsageError(f"{what} {value}", hint=f"give {least} or more")
    return value


def heat(heatmap: FloatArray) -> FloatArray:
    """A heat map (D, H, W), finite. It is neither copied nor converted.

    Raises:
        UsageError: another number of dimensions.
        InputError: not floating-point, or NaN or infinite somewhere.
    """
    if np.ndim(heatmap) != 3:
        raise UsageError(f"a heat map of shape {np.shape(heatmap)}", hint="give (D, H, W); one slice is (1, H, W)")
    array = np.asarray(heatmap)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"a heat map of {array.dtype}", hint="give float32")
    # Slice by slice, as everywhere with maps: a long scan has 10^8 voxels.
    if not all(np.isfinite(plane).all() for plane in array):
        raise InputError("the heat map is not finite everywhere", hint="set what was not measured to its lowest value")
    return array


def heat_and_mask(heatmap: FloatArray, mask: MaskArray) -> tuple[FloatArray, MaskArray]:
    """A heat map (D, H, W) and the mask bool (D, H, W) of what was changed, on the same grid.

    Raises:
        UsageError: shapes that differ.
        InputError: a map that is not finite, or a mask that is not bool.
    """
    values, changed = heat(heatmap), np.asarray(mask)
    if changed.dtype != np.bool_:
        raise InputError(f"a mask of {changed.dtype}", hint="give bool, as in mask > 0")
    if values.shape != changed.shape:
        raise UsageError(f"a heat map {values.shape} for a mask {changed.shape}", hint="use the same grid")
    return values, changed
