"""A series on another spacing of its slices, as archives and reformatting leave it, with its truth carried along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tamperscope.datasets.cases import Case
from tamperscope.records import FloatArray, MaskArray, Volume, voxel_digest


def thickened(case: Case) -> Case:
    """Pairs of slices averaged, as thick slices are made from thin ones; a last one without a partner stays as it is.

    A slice is forged where either of its pair was.
    """
    depth = case.volume.shape[0]
    first = np.arange(0, depth, 2)
    second = np.minimum(first + 1, depth - 1)
    return _resliced(case, first, second, start=0.5, step=2.0)


def halved(case: Case) -> Case:
    """A slice between each two, by linear interpolation; it is forged where either of its neighbours is."""
    places = np.arange(2 * case.volume.shape[0] - 1)
    return _resliced(case, places // 2, (places + 1) // 2, start=0.0, step=0.5)


def _resliced(case: Case, first: NDArray[np.intp], second: NDArray[np.intp], *, start: float, step: float) -> Case:
    """New slices, each the mean of an old pair; ``start`` and ``step`` are in old slices."""
    voxels = _means(case.volume.voxels, first, second)
    volume = replace(_placed(case.volume, first, start, step), voxels=voxels, digest=voxel_digest(voxels))
    mask: MaskArray | None = None if case.mask is None else case.mask[first] | case.mask[second]
    last = len(first) - 1
    places = ((min(max(round((k - start) / step), 0), last), j, i) for k, j, i in case.places)
    return replace(case, volume=volume, mask=mask, places=tuple(dict.fromkeys(places)))


def _means(voxels: FloatArray, first: NDArray[np.intp], second: NDArray[np.intp]) -> FloatArray:
    """Whole numbers where the series holds such, as a file of them would."""
    whole = bool(np.all(voxels == np.rint(voxels)))
    found = np.empty((len(first), *voxels.shape[1:]), dtype=np.float32)
    for n, (one, other) in enumerate(zip(first, second, strict=True)):
        mean = (voxels[one] + voxels[other]) / 2.0
        found[n] = np.rint(mean) if whole else mean
    return found


def _placed(volume: Volume, kept: NDArray[np.intp], start: float, step: float) -> Volume:
    """The volume with the affine and the names of its new slices."""
    affine = volume.affine.copy()
    affine[:3, 0] *= step
    affine[:3, 3] = volume.position_mm((start, 0.0, 0.0))
    names, uids = volume.sources, volume.sop_instance_uids
    return replace(
        volume,
        affine=affine,
        sources=tuple(names[k] for k in kept) if names else (),
        sop_instance_uids=tuple(uids[k] for k in kept) if uids else (),
    )
