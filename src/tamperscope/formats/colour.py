"""Colour samples of DICOM to RGB: YCbCr by formula, palettes by table (PS3.3 C.7.6.3.1.2 to .6)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from tamperscope.errors import UnreadableError, UnsupportedError
from tamperscope.formats.dicom import PALETTES, Parsed, integer, numbers, text, value
from tamperscope.records import FloatArray

Array: TypeAlias = NDArray[Any]


def is_colour(parsed: Parsed) -> bool:
    """Whether an object is decoded to three channels."""
    return parsed.shape[3] == 3 or text(parsed.dataset, "PhotometricInterpretation") == "PALETTE COLOR"


def bits(dataset: Dataset) -> int:
    """Bits of a voxel: those stored, or those of a palette's entries."""
    descriptor = numbers(dataset, f"{PALETTES[0]}Descriptor", 3)
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR" and descriptor is not None:
        return int(descriptor[2])
    return integer(dataset, "BitsStored") or integer(dataset, "BitsAllocated") or 16


def to_rgb(frame: Array, photometric: str, parsed: Parsed) -> Array:
    """Samples (H, W, 3), or palette indices (H, W), in RGB (H, W, 3).

    Args:
        frame: as decoded.
        photometric: the colour model that its samples are in, which a codec may have changed.
        parsed: the object.

    Raises:
        UnsupportedError: a retired colour model.
        UnreadableError: the palette is missing or damaged.
    """
    if photometric == "RGB":
        return frame
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _rgb(frame, integer(parsed.dataset, "BitsStored") or 8)
    if photometric == "PALETTE COLOR":
        return _palette(frame, parsed)
    raise UnsupportedError(f"{parsed.source}: colour model {photometric} is not read", hint="export it as RGB")


def _rgb(ybr: Array, bits: int) -> FloatArray:
    """YCbCr to RGB: the inverse of PS3.3 C.7.6.3.1.2 (ITU-R BT.601; JFIF, section 3), rounded and clipped."""
    middle, top = 2.0 ** (bits - 1), 2.0**bits - 1
    y, cb, cr = (ybr[..., channel].astype(np.float32) for channel in range(3))
    cb -= middle
    cr -= middle
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.asarray(np.clip(np.rint(rgb), 0, top), dtype=np.float32)


def _palette(frame: Array, parsed: Parsed) -> Array:
    """Look samples up in the palette; those beyond its ends take its first or last entry (PS3.3 C.7.6.3.1.5)."""
    first, table = _colour_table(parsed)
    index = np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)
    return table[index]


def _colour_table(parsed: Parsed) -> tuple[int, Array]:
    """First mapped value, and the (entries, 3) table (PS3.3 C.7.6.3.1.5 and .6)."""
    names = PALETTES
    descriptor = numbers(parsed.dataset, f"{names[0]}Descriptor", 3)
    if descriptor is None:
        raise UnreadableError(f"{parsed.source}: the palette is missing", hint="export it as RGB")
    entries, first, bits = (int(part) for part in descriptor)
    entries = entries or 2**16
    if not 0 < entries <= 2**16 or bits not in (8, 16):
        raise UnreadableError(f"{parsed.source}: palette of {entries} entries, {bits} bits", hint="export it as RGB")
    if f"{names[0]}Data" not in parsed.dataset:
        # Segmented (PS3.3 C.7.9.2): pydicom expands it; a ramp through it gives the table.
        ramp = np.arange(entries, dtype=np.int32) + first
        return first, apply_color_lut(ramp, parsed.dataset)[:, :3]
    columns = [value(parsed.dataset, f"{name}Data") for name in names]
    if not all(isinstance(column, bytes) and len(column) >= entries for column in columns):
        raise UnreadableError(f"{parsed.source}: the palette is cut short", hint="export it as RGB")
    order = ">" if parsed.transfer_syntax == uid.ExplicitVRBigEndian else "<"
    # Eight-bit entries are stored packed, or in 16 bits each.
    packed = bits == 8 and len(columns[0]) < 2 * entries
    tables = [np.frombuffer(column, "u1" if packed else f"{order}u2", entries) for column in columns]
    return first, np.stack(tables, axis=-1)
