"""The pixels of one file of a data set, whatever its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tamperscope import study
from tamperscope.decode import decode
from tamperscope.errors import TamperscopeError, UnreadableError
from tamperscope.limits import check_size
from tamperscope.records import FloatArray

ARRAY = ".npy"


def planes(path: Path, limits: study.Limits = study.DEFAULT_LIMITS) -> FloatArray:
    """float32 (D, H, W): the slices of a DICOM, NIfTI, picture or .npy file, colour as luminance.

    Raises:
        InputError: the file cannot be read or decoded; the message names it.
    """
    if path.suffix.lower() == ARRAY:
        return _array(path)
    reading = study.read(path, limits)
    if reading.failed:
        raise UnreadableError(f"{path}: {reading.failed[0].error}", hint=reading.failed[0].hint)
    found = [decode(series, limits).luminance for one in reading.studies for series in one.series]
    if not found:
        raise UnreadableError(f"{path}: no image in it", hint="check the file")
    return found[0]


def _array(path: Path) -> FloatArray:
    """A NumPy array of two or three axes. Only numbers are loaded, never objects."""
    try:
        header = np.load(path, mmap_mode="r")
        check_size(str(path), header.shape, study.DEFAULT_LIMITS)
        array = np.asarray(header, dtype=np.float32)
    except TamperscopeError:
        raise
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise UnreadableError(f"{path}: no array of numbers ({error})", hint="fetch it again") from error
    if array.ndim not in (2, 3) or not array.size:
        raise UnreadableError(f"{path}: an array of shape {array.shape}", hint="slices have two or three axes")
    return array if array.ndim == 3 else array[None]
