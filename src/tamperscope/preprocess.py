"""What a network may ask for: the input contract of a Card, and how a slice becomes the array that it sees.

The grid is never changed: traces of tampering live in untouched pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.records import FloatArray, MaskArray, Volume

CHANNELS = 3
AIR_HU = -970.0
"""Pixels below belong to the air round the patient, where clipping hides the noise."""
RESIDUAL_HU = 40.0
"""Scale of the absolute residual channel: a few times the noise of a standard chest CT."""
SMALLEST_NOISE_HU = 0.5
PROBED_SLICES = 9
SOFT_TISSUE_HU = (-200.0, 200.0)
"""From fat to enhanced blood."""
COARSEST_STEP_HU = 2.0
"""Between the values that occur: 1 in chest CT as scanners write it, 5 to 6 after a lung window of 8 bit."""
LEAST_VALUES, PIXELS_A_VALUE = 8, 10.0
"""With fewer values there are no steps to speak of; with fewer pixels, a value may be missing by chance."""
LEAST_SOFT_TISSUE = 0.62
"""Share of the dense body that is soft tissue: 0.67 and more in slices of chest CT, 0.60 at most in smoothed noise."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The pictures that a set of weights was trained for. Outside of it there is no answer, whatever the score."""

    modality: str
    body_part: str
    clip_hu: tuple[float, float]
    """Values outside are clipped before the network sees them."""
    spacing_mm: tuple[float, float]
    """Smallest and largest pixel spacing in the slice plane."""
    noise_hu: tuple[float, float]
    """Smallest and largest noise of a slice, as `noise_level` measures it."""
    matrix: tuple[int, int]
    """Smallest and largest number of rows or columns."""
    lung_share: float
    """Least share of the body that must be lung in the best of the probed slices."""


def refusals(spec: InputSpec, volume: Volume) -> tuple[str, ...]:
    """Why ``volume`` is outside the contract, one plain sentence a reason; empty if it is inside.

    Looks at up to nine slices spread over the volume.
    """
    if volume.modality != spec.modality:
        unstated = "" if volume.format == "dicom" else f" (if it is {spec.modality}, say --modality {spec.modality})"
        return (f"the model was trained on {spec.modality}, this is {volume.modality}{unstated}",)
    return _grid_refusals(spec, volume) or _content_refusals(spec, volume)


def _grid_refusals(spec: InputSpec, volume: Volume) -> tuple[str, ...]:
    reasons = []
    if volume.voxels.ndim != 3:
        reasons.append("a colour picture is not a CT image")
    _, rows, columns = volume.shape
    least, most = spec.matrix
    if not (least <= rows <= most and least <= columns <= most):
        reasons.append(f"the matrix is {rows} x {columns}, the model was trained on {least} to {most} a side")
    _, *plane = volume.spacing_mm
    low, high = spec.spacing_mm
    if volume.geometry == "none":
        reasons.append("no pixel spacing is stated, so sizes are unknown")
    elif not all(low <= spacing <= high for spacing in plane):
        stated = " x ".join(f"{spacing:.2f}" for spacing in plane)
        reasons.append(f"the pixel spacing is {stated} mm, the model was trained on {low:.2f} to {high:.2f} mm")
    return tuple(reasons)


def _content_refusals(spec: InputSpec, volume: Volume) -> tuple[str, ...]:
    depth = volume.shape[0]
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, PROBED_SLICES)).round().astype(int))
    planes = volume.voxels[chosen]
    if planes.min() > -500.0:
        return (
            f"the smallest value is {planes.min():.0f} HU: there is no air, so this is no chest CT in Hounsfield units",
        )
    body = anatomy.body(planes)
    if not body.any():
        return ("no patient was found in the picture",)
    reasons = []
    shares = anatomy.lungs(planes).sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
    if shares.max() < spec.lung_share:
        reasons.append(
            f"lung makes up {shares.max():.0%} of the body at most; the model was trained on chest slices with lung"
        )
    step = float(np.median([_step(plane) for plane in planes]))
    if step > COARSEST_STEP_HU:
        reasons.append(
            f"the values come in steps of {step:.0f} HU: the picture has been through a window of few grey levels, as "
            "exports have it; give the original file"
        )
    soft = _soft_tissue(planes, body)
    if soft < LEAST_SOFT_TISSUE:
        reasons.append(f"soft tissue makes up {soft:.0%} of what is dense: these are not the values of a chest")
    noise = float(np.median([noise_level(plane) for plane in planes]))
    low, high = spec.noise_hu
    if not low <= noise <= high:
        reasons.append(f"the noise is {noise:.1f} HU, the model was trained on {low:.1f} to {high:.1f} HU")
    return tuple(reasons)


def _step(plane: FloatArray) -> float:
    """Distance of the values of the patient (H, W) to the next that occur, median over pixels; 0 if these are few."""
    values, counts = np.unique(np.rint(plane[(plane > AIR_HU) & (plane < SOFT_TISSUE_HU[1])]), return_counts=True)
    if values.size < LEAST_VALUES or counts.sum() < PIXELS_A_VALUE * values.size:
        return 0.0
    gaps = np.diff(values)
    nearest = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    order = np.argsort(nearest)
    return float(nearest[order][np.searchsorted(counts[order].cumsum(), counts.sum() / 2)])


def _soft_tissue(planes: FloatArray, body: MaskArray) -> float:
    """Share of the dense body (D, H, W) between fat and blood, noise averaged out, in the best of the slices."""
    step = anatomy.STEP
    means = ndimage.uniform_filter(planes, (0, step, step))[:, ::step, ::step]
    dense = body[:, ::step, ::step] & (means > anatomy.TISSUE_HU)
    soft = dense & (means > SOFT_TISSUE_HU[0]) & (means < SOFT_TISSUE_HU[1])
    return float((soft.sum(axis=(1, 2)) / np.maximum(dense.sum(axis=(1, 2)), 1)).max())


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
    return _spread(plane, high_pass(plane))


def _spread(plane: FloatArray, residual: FloatArray) -> float:
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
    noise = _spread(plane, residual) if noise is None else noise
    picture = (plane - low) * np.float32(2.0 / (high - low)) - 1.0
    absolute = np.clip(residual * np.float32(1.0 / RESIDUAL_HU), -4.0, 4.0)
    relative = np.clip(residual * np.float32(0.5 / noise), -4.0, 4.0)
    return np.stack([picture, absolute, relative])


def upsample(coarse: FloatArray, stride: int, shape: tuple[int, int]) -> FloatArray:
    """Bilinear enlargement of a coarse map (h, w) to (H, W), each coarse value at the centre of its stride."""
    rows = (np.arange(shape[0]) + 0.5) / stride - 0.5
    columns = (np.arange(shape[1]) + 0.5) / stride - 0.5
    return _interpolate(_interpolate(coarse, rows, 0), columns, 1)


def _interpolate(values: FloatArray, at: np.ndarray, axis: int) -> FloatArray:
    at = np.clip(at, 0, values.shape[axis] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None, :]
    taken = np.take(values, low, axis=axis)
    return np.asarray(taken + share * (np.take(values, high, axis=axis) - taken), dtype=np.float32)
