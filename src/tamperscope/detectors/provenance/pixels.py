"""What the pixel values say of their own history, against what the header claims of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tamperscope.detectors.provenance import seen
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.formats import dicom
from tamperscope.records import FloatArray, Volume

SAMPLED = 5
"""Slices of a series, spread over it, whose values are counted."""
BITS, COMB, RANGE = "PS3.5 8.1.1", "Stamm and Liu 2010, section III", "PS3.3 C.11.1.1.2"
FEWEST = 20
"""Pixels that a bin must have on average before an empty one means anything."""
MIDDLE = (5.0, 95.0)
"""Percentiles between which bins are counted: the tails of any histogram have gaps."""
STRETCH = 64
"""Neighbouring bins that are judged together."""
GAPS = 0.5
"""Share of bins in use below which the values were stretched: a factor of two or more."""
AIR = -500.0
"""Hounsfield units: a CT slice that shows the whole patient holds air, about -1000."""


def of_file(opened: Opened) -> Iterator[Seen]:
    """Bits in use beyond Bits Stored (0028,0101), in pixel data that is not compressed."""
    values = _words(opened)
    stored = dicom.integer(opened.dataset, "BitsStored") or 0
    if values is None or not 0 < stored < 16 or _has_overlay(opened):
        return
    above = values >> stored
    if dicom.integer(opened.dataset, "PixelRepresentation") == 1:
        sign = (values >> (stored - 1)) & 1
        used = above != np.where(sign == 1, (1 << (16 - stored)) - 1, 0)
    else:
        used = above != 0
    count = int(np.count_nonzero(used))
    if count:
        text = f"Values use bits above Bits Stored = {stored}: another program than the header's wrote the pixels."
        yield seen.warning("bits-stored", text, BITS, opened.source)


def _words(opened: Opened) -> NDArray[np.uint16] | None:
    parsed = opened.parsed
    if parsed is None or parsed.pixels is None or parsed.pixels.length == dicom.UNDEFINED:
        return None
    allocated, high = (dicom.integer(parsed.dataset, word) for word in ("BitsAllocated", "HighBit"))
    if allocated != 16 or high != (dicom.integer(parsed.dataset, "BitsStored") or 0) - 1:
        return None
    pixels = parsed.pixels
    raw = parsed.data[pixels.offset : pixels.offset + pixels.length // 2 * 2]
    return np.frombuffer(raw, "<u2" if parsed.dataset.original_encoding[1] else ">u2").astype(np.uint16)


def _has_overlay(opened: Opened) -> bool:
    """Overlays lay in the unused bits of old files (PS3.5-2004 8.1.2)."""
    return any(0x6000 <= tag.group <= 0x60FF and tag.element == 0x0102 for tag in opened.dataset.keys())  # noqa: SIM118


def of_volume(volume: Volume) -> Iterator[Seen]:
    """Histograms with gaps, few grey levels, and a CT without air."""
    if volume.voxels.ndim != 3 or volume.voxels.size == 0:
        return
    planes = [volume.voxels[k] for k in spread(len(volume.voxels))]
    yield from _levels(planes, volume)
    darkest = min(float(plane.min()) for plane in planes)
    if volume.modality == "CT" and volume.format == "dicom" and darkest > AIR:
        text = f"No value of the CT is below {darkest:.0f} HU: air is cut away, or the rescale is another one's."
        yield seen.note("rescale", text, RANGE)


def _levels(planes: list[FloatArray], volume: Volume) -> Iterator[Seen]:
    """Whether every grey level between the tails is used, as noise does, or only some of them."""
    values = np.concatenate([plane.ravel() for plane in planes]).astype(np.float64)
    slope = _slope(values)
    if slope is None:
        return
    steps = np.rint((values - values.min()) / slope).astype(np.int64)
    # What lies far outside is padding, or an artefact: it would make the histogram wide and empty.
    low, high = (int(v) for v in np.percentile(steps, MIDDLE))
    share = _share(np.bincount(steps[(steps >= low) & (steps <= high)] - low))
    if share is None or share >= GAPS:
        return
    total = len(np.unique(steps))
    deep = volume.bits_stored > 8
    text = (
        f"Of neighbouring grey levels {share:.0%} are in use, {total} in all"
        f"{f' of {volume.bits_stored} bits' if deep else ''}: the values were stretched from fewer."
    )
    yield (seen.warning if deep else seen.note)("grey-levels", text, COMB)


def _share(counts: NDArray[np.int64]) -> float | None:
    """The median share of bins in use over stretches of `STRETCH` bins that hold pixels enough; None without any."""
    whole = counts[: len(counts) // STRETCH * STRETCH].reshape(-1, STRETCH)
    full = whole[whole.sum(axis=1) >= FEWEST * STRETCH]
    return float(np.median(np.count_nonzero(full, axis=1) / STRETCH)) if len(full) else None


def _slope(values: NDArray[np.float64]) -> float | None:
    """The smallest step of values that come in steps; None where they do not."""
    levels = np.unique(values[:: max(1, values.size // 200_000)])
    if len(levels) < 8:
        return None
    steps = np.diff(levels)
    smallest = float(steps.min())
    # An integer file has a step of 1 or of its slope; what was stretched by a factor keeps whole numbers.
    step = 1.0 if np.allclose(levels, np.rint(levels)) else smallest
    return step if step > 0 and np.allclose(steps / step, np.rint(steps / step), atol=0.02) else None


def spread(count: int) -> list[int]:
    """`SAMPLED` of so many slices, evenly."""
    return sorted({round(step * (count - 1) / (SAMPLED - 1)) for step in range(SAMPLED)})
