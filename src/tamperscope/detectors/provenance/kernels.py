"""The noise of a CT against the reconstruction kernel that its header claims.

A smooth kernel makes coarse noise, a sharp one fine noise. A generator, a filter or a header from another series leaves
one that no scan of such a kernel has. What may be was measured on authentic series (experiments/LOG.md); kernels that
were not among them are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np

from tamperscope.detectors.provenance import pixels, seen
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.inputs.ct import grain_of
from tamperscope.preprocess import noise_level
from tamperscope.records import Volume

Kind: TypeAlias = Literal["smooth", "sharp"]

CLAUSE = "PS3.3 C.8.2.1"
NAMES: dict[str, dict[str, Kind]] = {
    "GE": {"SOFT": "smooth", "STANDARD": "smooth", "LUNG": "sharp", "BONE": "sharp"},
    "PHILIPS": {"B": "smooth", "L": "sharp"},
}
"""Kernels by maker, as Convolution Kernel (0018,1210) names them."""
SIEMENS = re.compile(r"B([0-9]{2})[fs]")
SMOOTH_UP_TO, SHARP_FROM = 40, 60
"""Numbers of Siemens kernels of filtered back projection; those between are of neither kind. B20 to B40, B60 and B70
were measured; what is smoother or sharper yet stays within these limits all the more."""
FINEST_SMOOTH = 1.35
"""`grain_of` of smooth kernels: 0.38 to 1.15 in 57 authentic series of 16 models of scanner, and a margin of 0.2."""
COARSEST_SHARP = 0.95
"""Of sharp kernels: 1.15 to 1.74 in 10 series of 5 models, and the same margin."""
SPACING_MM = (0.54, 0.98)
"""Pixel sizes that were measured: on coarser pixels any noise is finer, on smaller ones coarser."""
LEAST_SIDE = 64
"""Pixels that a slice must have on a side."""
CLIP_HU = (-1024.0, 600.0)
LEAST_HU = 3.0
"""Noise below which its fineness says nothing: rounding to whole numbers is white."""


def of_volume(volume: Volume) -> Iterator[Seen]:
    """Noise that the kernel cannot have made."""
    kind = _kind(str(volume.header.get("manufacturer") or ""), str(volume.header.get("kernel") or ""))
    if volume.modality != "CT" or volume.geometry == "none" or kind is None or volume.voxels.ndim != 3:
        return
    if not all(SPACING_MM[0] <= spacing <= SPACING_MM[1] for spacing in volume.spacing_mm[1:]):
        return
    grain = _grain(volume)
    if grain is None:
        return
    if kind == "smooth" and grain > FINEST_SMOOTH:
        text = f"The noise is finer ({grain:.2f}) than a smooth kernel as the header claims it makes ({FINEST_SMOOTH})."
        yield seen.warning("kernel-noise", text, CLAUSE)
    elif kind == "sharp" and grain < COARSEST_SHARP:
        # None of the measured series was reconstructed iteratively, which coarsens the noise every day.
        text = (
            f"The noise is coarser ({grain:.2f}) than a sharp kernel as the header claims it makes ({COARSEST_SHARP}); "
            "iterative reconstruction and denoising do that, too."
        )
        yield seen.note("kernel-noise", text, CLAUSE)


def _kind(maker: str, kernel: str) -> Kind | None:
    maker, kernel = maker.upper(), kernel.split("\\")[0]
    siemens = SIEMENS.fullmatch(kernel)
    if maker.startswith("SIEMENS") and siemens is not None:
        number = int(siemens[1])
        return "smooth" if number <= SMOOTH_UP_TO else "sharp" if number >= SHARP_FROM else None
    return next((kinds.get(kernel.upper()) for name, kinds in NAMES.items() if maker.startswith(name)), None)


def _grain(volume: Volume) -> float | None:
    """Median fineness of the noise over slices that show enough of it; None where none does."""
    planes = [np.clip(volume.voxels[index], *CLIP_HU) for index in pixels.spread(volume.shape[0])]
    planes = [plane for plane in planes if min(plane.shape) >= LEAST_SIDE and noise_level(plane) >= LEAST_HU]
    return float(np.median([grain_of(plane) for plane in planes])) if planes else None
