"""Where body, lungs and bones are in a CT, and the tissue in a radiograph: thresholds and connected components.

Attacks choose their places with it, detectors look only inside the body, and Cards refuse what holds no lung. All work
slice by slice and, but for the bones, on every fourth pixel: borders are good to a few pixels, which is all that
its callers need.
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
BONE_HU, CORTEX_HU = 150.0, 300.0
"""What bone holds at least, above cartilage and enhanced organs; and what its cortex reaches somewhere."""
BINS = 128
"""Of the histogram in which air is told from tissue."""
FINDING_HU = -500.0
"""What a nodule's smoothed middle reaches; ground glass stays below and is not found."""
FINDING_MM = (3.0, 30.0)
"""Diameters of a nodule: smaller ones are noise, larger ones masses (Fleischner Society glossary, 2008)."""
FINE_MM, BLUR_MM = 1.5, 1.2
"""Pixel that is fine enough to see them, and the Gaussian that takes the noise away before."""
SPECK_PIXELS = 9
"""Smaller pieces of bone in a slice are noise or calcification."""


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


def findings(voxels: FloatArray, spacing_mm: tuple[float, float, float]) -> list[tuple[tuple[int, int, int], float]]:
    """Dense bodies that lie in the lung and end there, as nodules do: densest voxel (k, j, i), and diameter in mm.

    ``voxels`` (D, H, W) are in Hounsfield units. What hangs together with wall, heart or vessel tree is left out; a
    piece of vessel that lies alone, which in a single slice each of them does, is not. The diameter is that of the
    ball, or in a single slice of the disc, of the same size.
    """
    steps = [max(1, int(FINE_MM / mm)) for mm in spacing_mm[1:]]
    cut = (slice(None), slice(None, None, steps[0]), slice(None, None, steps[1]))
    across = (spacing_mm[0], spacing_mm[1] * steps[0], spacing_mm[2] * steps[1])
    lung = lungs(voxels)[cut]
    single = voxels.shape[0] == 1
    blur = [0.0 if single and not axis else BLUR_MM / mm for axis, mm in enumerate(across)]
    smooth = ndimage.gaussian_filter(voxels[cut], blur)
    near = np.ones((1, 3, 3), dtype=bool)
    labels, count = ndimage.label((smooth > FINDING_HU) & ndimage.binary_closing(lung, near))
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * float(np.prod(across[1:] if single else across))
    diameters = 2.0 * np.sqrt(sizes / np.pi) if single else np.cbrt(6.0 * sizes / np.pi)
    apart = ~np.isin(numbers, labels[ndimage.binary_dilation(~lung, near)])
    kept = numbers[apart & (diameters >= FINDING_MM[0]) & (diameters <= FINDING_MM[1])]
    peaks = ndimage.maximum_position(smooth, labels, kept) if kept.size else []
    return [
        ((int(k), int(j) * steps[0], int(i) * steps[1]), float(diameters[number - 1]))
        for (k, j, i), number in zip(peaks, kept, strict=True)
    ]


def bones(voxels: FloatArray) -> MaskArray:
    """Voxels (D, H, W) in Hounsfield units to the mask (D, H, W) of bone, with the marrow that cortex encloses.

    Bone is, slice by slice, what lies above 150 HU in a mean of 3 x 3 pixels and touches cortex of 300 HU. Metal and
    strongly enhanced vessels are taken for bone too: thresholds cannot tell them apart.
    """
    inside = body(voxels)
    return np.stack([_bone_slice(plane, within) for plane, within in zip(voxels, inside, strict=True)])


def tissue(voxels: FloatArray) -> MaskArray:
    """Pixels (D, H, W) of any unit, bright where dense, to the mask (D, H, W) of what lay in the beam of a radiograph.

    The largest piece above the lower of two thresholds after Otsu (IEEE Transactions on Systems, Man, and Cybernetics
    9, 1979), its holes filled: a limb against the air, or a chest with its lungs. A constant slice gives an empty one.
    """
    start = -(STEP // 2)  # the mean of a cell then lands on its first pixel
    means = ndimage.uniform_filter(voxels, (0, STEP, STEP), origin=(0, start, start))[:, ::STEP, ::STEP]
    coarse = np.stack([_largest(plane > _air_below(plane)) for plane in means])
    return _refine(coarse, voxels.shape)


def _bone_slice(plane: FloatArray, inside: MaskArray) -> MaskArray:
    smooth = ndimage.uniform_filter(plane, 3)
    labels, count = ndimage.label((smooth > BONE_HU) & inside)
    if count == 0:
        return np.zeros(plane.shape, dtype=bool)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    peaks = ndimage.maximum(smooth, labels, np.arange(count + 1))
    kept = (peaks > CORTEX_HU) & (sizes >= SPECK_PIXELS)
    kept[0] = False
    bone: MaskArray = kept[labels]
    holes, _ = ndimage.label(ndimage.binary_fill_holes(bone) & ~bone)
    # Ribs, spine and breastbone may close a ring round the chest: a hole larger than the bone is no marrow.
    marrow = np.bincount(holes.ravel()) < bone.sum()
    marrow[0] = False
    found: MaskArray = bone | marrow[holes]
    return found


def _air_below(plane: FloatArray) -> float:
    """The lower of two thresholds that part the values into air, soft tissue and bone (Otsu 1979, three classes)."""
    if plane.min() == plane.max():
        return float(plane.max())
    counts, edges = np.histogram(plane, bins=BINS)
    weight = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2) / counts.sum()
    low, high = np.triu_indices(BINS - 1, 1)
    parts = (
        (moment[low], weight[low]),
        (moment[high] - moment[low], weight[high] - weight[low]),
        (moment[-1] - moment[high], 1.0 - weight[high]),
    )
    between = sum(np.divide(m**2, w, out=np.zeros_like(m), where=w > 1e-9) for m, w in parts)
    return float(edges[1 + low[int(np.argmax(between))]])


def _body_slice(plane: FloatArray) -> MaskArray:
    return _largest(ndimage.binary_opening(plane > TISSUE_HU, iterations=1))


def _largest(dense: MaskArray) -> MaskArray:
    """The largest piece of a slice, its bays sealed and its holes filled."""
    labels, count = ndimage.label(dense)
    if count == 0:
        return np.zeros(dense.shape, dtype=bool)
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
