"""The contract of CT: Hounsfield units, geometry, what is shown, and the noise that scanner and kernel leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.preprocess import AIR_HU, channels, halved, noise_level, spread_of
from tamperscope.records import FloatArray, MaskArray, Volume

PLACE_MM = 32.0
"""Side of what counts as one place: the box that CT-GAN pastes."""
DEPTH_SIGMA_MM = 2.0
"""Forgeries reach through slices, noise does not: the maps are smoothed along the slice axis by this much."""
PROBED_SLICES = 9
SECOND = np.array([-1.0, 2.0, -1.0], dtype=np.float32) / np.float32(6.0**0.5)
"""Second difference, by which white noise keeps its strength."""
SOFT_TISSUE_HU = (-200.0, 200.0)
"""From fat to enhanced blood."""
COARSEST_STEP_HU = 2.0
"""Between the values that occur: 1 in chest CT as scanners write it, 5 to 6 after a lung window of 8 bit."""
LEAST_VALUES, PIXELS_A_VALUE = 8, 10.0
"""With fewer values there are no steps to speak of; with fewer pixels, a value may be missing by chance."""
LEAST_FINEST = 0.6
"""Noise of 2 x 2 checkerboards over that of the slice: 0.64 and more in untouched chest CT, of soft kernels too,
0.53 at most after a slice was halved and enlarged again."""
MOST_UNEVEN = 1.3
"""Quotient of the noise of odd and even pixels: 1.10 at most in untouched CT, 1.9 and more where three pixels were made
of four or wavelets were quantised. Interpolation leaves such a period (Gallagher, CRV 2005)."""
MOST_EQUAL = 0.12
"""Share of pixels equal to their neighbour: 0.08 at most in untouched CT, 0.17 at least after a median."""
LEAST_SOFT_TISSUE = 0.62
"""Share of the dense body that is soft tissue: 0.67 and more in slices of chest CT, 0.60 at most in smoothed noise."""


@dataclass(frozen=True, slots=True)
class CtInput:
    """The CT that a set of weights was trained for."""

    MODALITY: ClassVar[str] = "CT"

    modality: str
    body_part: str
    clip_hu: tuple[float, float]
    """Values outside are clipped before the network sees them."""
    spacing_mm: tuple[float, float]
    """Smallest and largest pixel spacing in the slice plane."""
    slice_mm: tuple[float, float]
    """Smallest and largest distance of slices; of a slice that is alone, its thickness."""
    noise_hu: tuple[float, float]
    """Smallest and largest noise of a slice, as `noise_level` measures it."""
    grain: tuple[float, float]
    """Smallest and largest fineness of the noise, see `grain_of`: what a reconstruction kernel makes of it."""
    matrix: tuple[int, int]
    """Smallest and largest number of rows or columns."""
    lung_share: float
    """Least share of the body that must be lung in the best of the probed slices."""

    def takes(self, modality: str) -> bool:
        """Whether this is the contract for such pictures at all."""
        return modality == self.modality

    def refusals(self, volume: Volume) -> tuple[str, ...]:
        """Why ``volume`` is outside the contract, one plain sentence a reason; empty if it is inside.

        Looks at up to nine slices spread over the volume.
        """
        if not self.takes(volume.modality):
            unstated = "" if volume.format == "dicom" else f" (if it is {self.modality}, say --modality CT)"
            return (f"the model was trained on {self.modality}, this is {volume.modality}{unstated}",)
        return self._grid_refusals(volume) or self._content_refusals(volume)

    def cautions(self, volume: Volume) -> tuple[str, ...]:
        """What was done to the slices that takes traces of forging away, one plain sentence each; none if untouched."""
        planes = [np.clip(plane, *self.clip_hu) for plane in _probed(volume)]
        signs = np.median([_processing(plane) for plane in planes], axis=0)
        finest, uneven, equal = (float(sign) for sign in signs)
        said = (
            (finest < LEAST_FINEST, f"the finest detail is gone ({finest:.2f} of the noise, {LEAST_FINEST} at least)"),
            (uneven > MOST_UNEVEN, f"odd and even pixels differ in noise ({uneven:.1f} times), as after resampling"),
            (equal > MOST_EQUAL, f"{equal:.0%} of the pixels equal their neighbour, as after a median filter"),
        )
        return tuple(f"{words}: traces of forging may have gone with it" for shown, words in said if shown)

    def channels(self, plane: FloatArray) -> FloatArray:
        """A slice (H, W) as the network sees it, float32 (3, H, W)."""
        return channels(plane, self.clip_hu)

    def inside(self, volume: Volume) -> MaskArray:
        """Where the patient is, on the grid of the answer; see `body_of`."""
        return body_of(volume)

    def strides(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Pixels of (H, W) that one value of the answer stands for, down and across."""
        del shape
        return float(anatomy.STEP), float(anatomy.STEP)

    def settled(self, maps: FloatArray, volume: Volume) -> FloatArray:
        """The network's answers (D, h, w) as a map of evidence; see `through_slices`."""
        return through_slices(maps, volume)

    def places(self, inside: MaskArray, volume: Volume) -> float:
        """How many places the body has; see `count_places`."""
        return count_places(inside, volume)

    def facts(self) -> Mapping[str, str]:
        """The contract in words, for the Card."""
        return {
            "May judge": f"{self.modality} of the {self.body_part.lower()}, in the file's own pixels",
            "Pixel spacing": f"{self.spacing_mm[0]} to {self.spacing_mm[1]} mm",
            "Slice distance": f"{self.slice_mm[0]} to {self.slice_mm[1]} mm",
            "Matrix": f"{self.matrix[0]} to {self.matrix[1]} a side",
            "Noise of a slice": f"{self.noise_hu[0]} to {self.noise_hu[1]} HU",
            "Fineness of the noise": f"{self.grain[0]} to {self.grain[1]} (from soft to sharp kernels)",
            "Lung": f"at least {self.lung_share:.0%} of the body in the best slice",
        }

    def _grid_refusals(self, volume: Volume) -> tuple[str, ...]:
        reasons = []
        if volume.voxels.ndim != 3:
            reasons.append("a colour picture is not a CT image")
        _, rows, columns = volume.shape
        least, most = self.matrix
        if not (least <= rows <= most and least <= columns <= most):
            reasons.append(f"the matrix is {rows} x {columns}, the model was trained on {least} to {most} a side")
        between, *plane = volume.spacing_mm
        low, high = self.spacing_mm
        if volume.geometry == "none":
            reasons.append("no pixel spacing is stated, so sizes are unknown")
        elif not all(low <= spacing <= high for spacing in plane):
            stated = " x ".join(f"{spacing:.2f}" for spacing in plane)
            reasons.append(f"the pixel spacing is {stated} mm, the model was trained on {low:.2f} to {high:.2f} mm")
        elif not self.slice_mm[0] <= between <= self.slice_mm[1]:
            low, high = self.slice_mm
            reasons.append(
                f"the slices are {between:.2f} mm apart, the model was trained on {low:.1f} to {high:.1f} mm"
            )
        return tuple(reasons)

    def _content_refusals(self, volume: Volume) -> tuple[str, ...]:
        planes = _probed(volume)
        if planes.min() > -500.0:
            least = f"the smallest value is {planes.min():.0f} HU"
            return (f"{least}: there is no air, so this is no chest CT in Hounsfield units",)
        body = anatomy.body(planes)
        if not body.any():
            return ("no patient was found in the picture",)
        reasons = [self._no_lung(planes, body), _few_values(planes), _no_chest(planes, body), *self._noise(planes)]
        return tuple(reason for reason in reasons if reason)

    def _no_lung(self, planes: FloatArray, body: MaskArray) -> str:
        shares = anatomy.lungs(planes).sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
        if shares.max() >= self.lung_share:
            return ""
        return f"lung makes up {shares.max():.0%} of the body at most; the model was trained on chest slices with lung"

    def _noise(self, planes: FloatArray) -> tuple[str, ...]:
        """How strong it is, and how fine."""
        noise = float(np.median([noise_level(plane) for plane in planes]))
        low, high = self.noise_hu
        if not low <= noise <= high:
            return (f"the noise is {noise:.1f} HU, the model was trained on {low:.1f} to {high:.1f} HU",)
        grain = float(np.median([grain_of(np.clip(plane, *self.clip_hu)) for plane in planes]))
        low, high = self.grain
        if low <= grain <= high:
            return ()
        told = "coarser" if grain < low else "finer"
        trained = f"{grain:.2f}, trained on {low:.2f} to {high:.2f}"
        return (f"the noise is {told} than that of any reconstruction kernel the model has seen ({trained})",)


def body_of(volume: Volume) -> MaskArray:
    """The body on the coarse grid of ``anatomy.STEP`` pixels: (D, ceil(H / 4), ceil(W / 4))."""
    return anatomy.body(volume.voxels)[:, :: anatomy.STEP, :: anatomy.STEP]


def count_places(inside: MaskArray, volume: Volume) -> float:
    """Squares of 32 mm that the body (on the coarse grid) holds, added up over the slices; at least 1."""
    _, down, across = volume.spacing_mm
    area_mm2 = float(inside.sum()) * anatomy.STEP**2 * down * across
    return max(area_mm2 / PLACE_MM**2, 1.0)


def through_slices(coarse: FloatArray, volume: Volume) -> FloatArray:
    """Smooth maps (D, h, w) along k by 2 mm; one slice, or slices far apart, stay as they are."""
    sigma = DEPTH_SIGMA_MM / max(volume.spacing_mm[0], 1e-3)
    if volume.shape[0] == 1 or sigma < 0.25:
        return coarse
    smooth: FloatArray = ndimage.gaussian_filter1d(coarse, min(sigma, 4.0), axis=0, mode="nearest")
    return smooth


def grain_of(plane: FloatArray) -> float:
    """How fine the noise of a slice (H, W) is: its strength against that of the slice at half the resolution.

    About 2 for white noise, which halves when four pixels are averaged; 0.4 for a soft kernel, 1.6 for a sharp one.
    """
    return noise_level(plane) / noise_level(halved(plane))


def _probed(volume: Volume) -> FloatArray:
    """Up to nine slices spread over the volume, (n, H, W)."""
    depth = volume.shape[0]
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, PROBED_SLICES)).round().astype(int))
    return np.asarray(volume.voxels[chosen])


def _processing(plane: FloatArray) -> tuple[float, float, float]:
    """Of a slice (H, W): noise of checkerboards, noise of odd against even pixels, share of equal neighbours."""
    crossed = np.zeros_like(plane)
    crossed[:-1, :-1] = 0.5 * (plane[:-1, :-1] - plane[:-1, 1:] - plane[1:, :-1] + plane[1:, 1:])
    second = ndimage.correlate1d(ndimage.correlate1d(plane, SECOND, axis=0), SECOND, axis=1)
    halves = [spread_of(plane[y::2, x::2], second[y::2, x::2]) for y in (0, 1) for x in (0, 1)]
    patient = plane[:, 1:] > AIR_HU
    equal = float((plane[:, 1:] == plane[:, :-1])[patient].mean()) if patient.any() else 0.0
    return spread_of(plane, crossed) / noise_level(plane), max(halves) / min(halves), equal


def _few_values(planes: FloatArray) -> str:
    step = float(np.median([_step(plane) for plane in planes]))
    if step <= COARSEST_STEP_HU:
        return ""
    return (
        f"the values come in steps of {step:.0f} HU: the picture has been through a window of few grey levels, as "
        "exports have it; give the original file"
    )


def _no_chest(planes: FloatArray, body: MaskArray) -> str:
    soft = _soft_tissue(planes, body)
    if soft >= LEAST_SOFT_TISSUE:
        return ""
    return f"soft tissue makes up {soft:.0%} of what is dense: these are not the values of a chest"


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
