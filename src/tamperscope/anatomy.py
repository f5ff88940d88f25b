"""Where the body and the lungs are in a chest CT: thresholds and connected components, slice by slice.

Attacks choose their places with it, detectors look only inside the body, and Cards refuse what holds no lung. It
works on every fourth pixel, so borders are good to a few pixels, which is all that its callers need.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tamperscope.records import FloatArray, MaskArray

STEP = 4
"""Pixels skipped in the slice plane while segmenting."""
TISSUE_HU = -400.0
"""Midway between lung (about -850 HU) and soft tissue (about 50 HU)."""
SEALING_PIXELS = 3
"""Iterations of closing, on the coarse grid, that seal the bronchi and thin chest walls."""


def body(voxels: FloatArray) -> MaskArray:
    """Voxels (D, H, W) in Hounsfield units to the mask (D, H, W) of the patient: skin, and all that lies inside it.

    The table is left out where it is apart from the patient. A slice without anything dense gives an empty slice.
    """
    coarse = np.stack([_body_slice(plane) for plane in voxels[:, ::STEP, ::STEP]])
    return _refine(coarse, voxels.shape)


def lungs(voxels: FloatArray) -> MaskArray:
    """Voxels (D, H, W) in Hounsfield units to the mask (D, H, W) of air-filled lung, vessels inside it included."""
    coarse = voxels[:, ::STEP, ::STEP]
    return _refine(np.stack([_lung_slice(plane, _body_slice(plane)) for plane in coarse]), voxels.shape)


def _body_slice(plane: FloatArray) -> MaskArray:
    dense = ndimage.binary_opening(plane > TISSUE_HU, iterations=1)
    labels, count = ndimage.label(dense)
    if count == 0:
        return np.zeros(plane.shape, dtype=bool)
    largest = labels == 1 + int(np.argmax(ndimage.sum_labels(dense, labels, np.arange(1, count + 1))))
    padded = np.pad(largest, SEALING_PIXELS + 1)
    sealed = ndimage.binary_closing(padded, iterations=SEALING_PIXELS)
    filled: MaskArray = ndimage.binary_fill_holes(sealed)[
        SEALING_PIXELS + 1 : -SEALING_PIXELS - 1, SEALING_PIXELS + 1 : -SEALING_PIXELS - 1
    ]
    return filled


def _lung_slice(plane: FloatArray, inside: MaskArray) -> MaskArray:
    air = ndimage.binary_opening((plane < TISSUE_HU) & inside, iterations=1)
    closed = ndimage.binary_closing(np.pad(air, 2), iterations=2)[2:-2, 2:-2]
    lung: MaskArray = closed & inside
    return lung


def _refine(coarse: MaskArray, shape: tuple[int, ...]) -> MaskArray:
    fine = coarse.repeat(STEP, axis=1).repeat(STEP, axis=2)
    return fine[:, : shape[1], : shape[2]]
