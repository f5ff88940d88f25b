"""How a slice becomes the array that a network sees: the picture, and two residuals of it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tamperscope.records import FloatArray

CHANNELS = 3
AIR_HU = -970.0
"""Pixels below belong to the air round the patient, where clipping hides the noise."""
RESIDUAL_HU = 40.0
"""Scale of the absolute residual channel: a few times the noise of a standard chest CT."""
LARGEST_RESIDUAL = 4.0
"""Of both residual channels: what is larger is an edge."""
SMALLEST_NOISE_HU = 0.5
SPREAD = (1.0, 99.0)
"""Percentiles of a radiograph that become -1 and 1: its stored values mean nothing by themselves."""
RESIDUAL_SHARE = 0.06
"""Scale of a radiograph's absolute residual, as a share of half that range."""
SMALLEST_NOISE_SHARE = 0.002
"""Half a grey level of eight bits."""


def high_pass(plane: FloatArray) -> FloatArray:
    """The slice (H, W) minus its 3 x 3 binomial mean, border nearest, in the slice's own unit."""
    padded = np.pad(plane, 1, mode="edge")
    rows = padded[:-2] + 2.0 * padded[1:-1] + padded[2:]
    smooth = (rows[:, :-2] + 2.0 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1.0 / 16.0)
    return plane - smooth


def noise_level(plane: FloatArray) -> float:
    """Robust standard deviation of the high-pass residual inside the patient (H, W), in HU.

    1.4826 times the median absolute value (Donoho and Johnstone, Biometrika 81, 1994), on every other pixel, at
    least 0.5 HU so that a constant slice divides nothing by zero.
    """
    return spread_of(plane, high_pass(plane))


def spread_of(plane: FloatArray, residual: FloatArray) -> float:
    """The same of any ``residual`` of the slice (H, W)."""
    inside = np.abs(residual[::2, ::2][plane[::2, ::2] > AIR_HU])
    if inside.size == 0:
        return SMALLEST_NOISE_HU
    return max(1.4826 * float(np.median(inside)), SMALLEST_NOISE_HU)


def channels(plane: FloatArray, clip_hu: tuple[float, float], noise: float | None = None) -> FloatArray:
    """A slice (H, W) in HU to what the network sees, float32 (3, H, W).

    Channel 0 is the picture, -1..1 over ``clip_hu``; channel 1 the high-pass residual in absolute strength; channel
    2 the same residual relative to ``noise``, the noise of the slice itself (measured here if not given).
    """
    low, high = clip_hu
    plane = np.clip(plane, low, high).astype(np.float32)
    residual = high_pass(plane)
    noise = spread_of(plane, residual) if noise is None else noise
    picture = (plane - low) * np.float32(2.0 / (high - low)) - 1.0
    absolute = np.clip(residual * np.float32(1.0 / RESIDUAL_HU), -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    relative = np.clip(residual * np.float32(0.5 / noise), -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    return np.stack([picture, absolute, relative])


def picture_channels(plane: FloatArray) -> FloatArray:
    """A radiograph (H, W) of any unit to what the network sees, float32 (3, H, W); the same meaning as `channels`."""
    low, high = (float(value) for value in np.percentile(plane, SPREAD))
    picture = (plane.astype(np.float32) - low) * np.float32(2.0 / max(high - low, 1e-6)) - 1.0
    picture = np.clip(picture, -1.5, 1.5)
    residual = high_pass(picture)
    noise = max(1.4826 * float(np.median(np.abs(residual))), SMALLEST_NOISE_SHARE)
    absolute = np.clip(residual * np.float32(1.0 / RESIDUAL_SHARE), -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    relative = np.clip(residual * np.float32(0.5 / noise), -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    return np.stack([picture, absolute, relative])


def halved(plane: FloatArray) -> FloatArray:
    """Means of 2 x 2 pixels of (H, W); an odd last row or column is left out."""
    height, width = (max(size // 2, 1) for size in plane.shape)
    even = plane[: 2 * height, : 2 * width]
    return np.asarray(even.reshape(height, -1, width, min(2, plane.shape[1])).mean(axis=(1, 3)), dtype=np.float32)


def reduced(plane: FloatArray, side: int) -> FloatArray:
    """A picture (H, W) whose shorter side is larger than ``side`` brought down to it; others as they are."""
    height, width = seen_shape((plane.shape[0], plane.shape[1]), side)
    return resized(plane, (height, width))


def seen_shape(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Rows and columns that `reduced` leaves of (H, W)."""
    shrink = min(1.0, side / min(shape))
    return max(1, round(shape[0] * shrink)), max(1, round(shape[1] * shrink))


def resized(plane: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """(H, W) to ``shape`` by Lanczos, whose filter Pillow widens where a picture shrinks: nothing is aliased."""
    if plane.shape == shape:
        return plane
    grey = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(grey.resize((shape[1], shape[0]), Image.Resampling.LANCZOS), dtype=np.float32)


def upsample(coarse: FloatArray, stride: tuple[float, float], shape: tuple[int, int]) -> FloatArray:
    """Bilinear enlargement of a coarse map (h, w) to (H, W), each coarse value at the centre of its stride."""
    rows = (np.arange(shape[0]) + 0.5) / stride[0] - 0.5
    columns = (np.arange(shape[1]) + 0.5) / stride[1] - 0.5
    return _interpolate(_interpolate(coarse, rows, 0), columns, 1)


def _interpolate(values: FloatArray, at: np.ndarray, axis: int) -> FloatArray:
    at = np.clip(at, 0, values.shape[axis] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None, :]
    taken = np.take(values, low, axis=axis)
    return np.asarray(taken + share * (np.take(values, high, axis=axis) - taken), dtype=np.float32)
