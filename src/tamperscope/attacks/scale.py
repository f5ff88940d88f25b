"""Between the values of a volume and -1 to 1, which is what the small networks see."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tamperscope.records import FloatArray, Volume

Span: TypeAlias = tuple[float, float]
"""The values that become -1 and 1."""


def span(volume: Volume, ct_hu: Span) -> Span:
    """``ct_hu`` for CT; for anything else the volume's own lowest and highest value."""
    if volume.modality == "CT":
        return ct_hu
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    return low, high if high > low else low + 1.0


def squeeze(values: FloatArray, ends: Span) -> FloatArray:
    """Values to -1..1; what lies outside of ``ends`` takes the nearer one."""
    low, high = ends
    return np.asarray((np.clip(values, low, high) - low) / (high - low) * 2.0 - 1.0, dtype=np.float32)


def stretch(values: FloatArray, ends: Span) -> FloatArray:
    """-1..1 to values: the way back from `squeeze`. What lies outside of -1..1 takes the nearer end."""
    low, high = ends
    return np.asarray((np.clip(values, -1.0, 1.0) + 1.0) / 2.0 * (high - low) + low, dtype=np.float32)
