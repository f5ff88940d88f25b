"""Cubes of lung for training the small generators, on the grid of `attacks.lung_grid`, and nodules drawn into them.

Public volumes with marked nodules are few, so the domain "nodule" is healthy lung with a procedural nodule
(`attacks.nodule`) composited into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamperscope import anatomy
from tamperscope.attacks import lung_grid, nodule
from tamperscope.datasets import manifest
from tamperscope.datasets.manifest import Entry
from tamperscope.errors import InputError
from tamperscope.records import JSON, FloatArray, Volume

DRAWN_NODULES = 400
"""Shapes drawn in advance; each is turned and mirrored anew every time it is used."""
LEVEL_HU = (-80.0, 150.0)
"""Of a drawn nodule: solid, from fat to calcium in part."""
BODY_SHARE = 0.1
"""Share of cubes round any place of the body instead of the lung."""
MIDDLE = (slice(5, 11), slice(10, 22), slice(10, 22))
"""12 mm a side."""
CLEAR_HU = (-950.0, -600.0)
"""Mean of the middle between which a cube shows lung there."""
TRIES = 12
SINGLES_SHARE = 0.25
"""Share of cubes from single slices, which become 16 equal ones, as the attacks make them of such a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An authentic volume on the grid: int16 Hounsfield units, padded by half a cube, and places (k, j, i) in it."""

    voxels: NDArray[np.int16]
    lung: NDArray[np.int32]
    """(N, 3)."""
    body: NDArray[np.int32]
    """(M, 3)."""
    weight: float


class LungCubes:
    """Draws cubes float32 (16, 32, 32) in Hounsfield units, healthy or with a nodule of a chosen size."""

    def __init__(self, sources: Sequence[Source], nodule_mm: tuple[float, float], seed: int) -> None:
        if not sources:
            raise InputError("no volume with a lung to train on", hint="give chest CT of at least one patient")
        self.sources = sources
        self.weights = np.array([one.weight for one in sources]) / sum(one.weight for one in sources)
        self.nodules = _draw_nodules(nodule_mm, np.random.default_rng(seed))

    def healthy(self, rng: np.random.Generator) -> FloatArray:
        """A cube as it is in a scan, turned and mirrored."""
        one = self.sources[int(rng.choice(len(self.sources), p=self.weights))]
        places = one.body if rng.random() < BODY_SHARE and len(one.body) else one.lung
        k, j, i = (int(x) for x in places[int(rng.integers(len(places)))])
        depth, height, width = lung_grid.SHAPE
        if one.voxels.shape[0] == 1:
            cube = np.broadcast_to(one.voxels[:, j : j + height, i : i + width], lung_grid.SHAPE)
        else:
            cube = one.voxels[k : k + depth, j : j + height, i : i + width]
        return _turned(cube.astype(np.float32), rng)

    def clear(self, rng: np.random.Generator) -> FloatArray:
        """A healthy cube with lung in its middle, neither a wall nor the windpipe: where a nodule could be."""
        for _ in range(TRIES):
            cube = self.healthy(rng)
            if CLEAR_HU[0] < cube[MIDDLE].mean() < CLEAR_HU[1]:
                break
        return cube

    def with_nodule(self, rng: np.random.Generator) -> tuple[FloatArray, float]:
        """A cube as from `clear` with a nodule in its middle, and the nodule's diameter in mm."""
        cube = self.clear(rng)
        one = self.nodules[int(rng.integers(len(self.nodules)))]
        opacity = _turned(one.opacity, rng)
        noise = ndimage.gaussian_filter(rng.standard_normal(cube.shape, dtype=np.float32), (0.0, 0.6, 0.6))
        grown = np.float32(one.level_hu) + np.float32(2.0 * rng.uniform(5.0, 25.0)) * noise
        return np.maximum(opacity * grown + (1.0 - opacity) * cube, cube), one.diameter_mm


@dataclass(frozen=True, slots=True, eq=False)
class _Nodule:
    opacity: FloatArray
    level_hu: float
    diameter_mm: float


def sources(volumes: Iterable[tuple[str, Volume]]) -> tuple[Source, ...]:
    """Prepare (patient, volume) pairs; each patient weighs the same, and single slices together `SINGLES_SHARE`.

    Volumes without lung are left out.
    """
    found = [(patient, _source(volume)) for patient, volume in volumes]
    usable = [(patient, one) for patient, one in found if len(one.lung)]
    single = [one.voxels.shape[0] == 1 for _, one in usable]
    count = Counter((patient, alone) for (patient, _), alone in zip(usable, single, strict=True))
    patients = Counter(alone for _, alone in count)
    whole_share = 1.0 - SINGLES_SHARE if patients[False] and patients[True] else 1.0
    share = {False: whole_share, True: SINGLES_SHARE if patients[False] else 1.0}
    return tuple(
        Source(one.voxels, one.lung, one.body, share[alone] / patients[alone] / count[patient, alone])
        for (patient, one), alone in zip(usable, single, strict=True)
    )


def facts(entries: Sequence[Entry], *, nodules: bool = True) -> dict[str, JSON]:
    """What a Card states of the CT that a network was trained on: collections, patients, digest, and the nodules."""
    stated: dict[str, JSON] = {
        "data": f"{', '.join(sorted({entry.collection for entry in entries}))} (The Cancer Imaging Archive, CC BY)",
        "patients": len({entry.patient for entry in entries}),
        "files": len(entries),
        "split": "experiments/ct_local/split.json; only the part train was used",
        "manifest_digest": manifest.digest(entries),
    }
    if nodules:
        stated["nodules"] = "none of a patient: procedural ones (attacks.nodule) composited into healthy lung"
    return stated


def _source(volume: Volume) -> Source:
    shape = tuple(
        max(1, round(size * mm / step))
        for size, mm, step in zip(volume.shape, volume.spacing_mm, lung_grid.SPACING_MM, strict=True)
    )
    shape = (1, *shape[1:]) if volume.shape[0] == 1 else shape
    voxels = np.clip(volume.voxels, -1024.0, 3071.0)
    zoomed = ndimage.zoom(voxels, [new / old for new, old in zip(shape, voxels.shape, strict=True)], order=1)
    margin = [
        (size // 2, size - size // 2) if extent > 1 else (0, 0)
        for size, extent in zip(lung_grid.SHAPE, shape, strict=True)
    ]
    padded = np.pad(np.rint(zoomed).astype(np.int16), margin, mode="edge")
    lung, body = (_places(find(voxels), shape) for find in (anatomy.lungs, anatomy.body))
    return Source(padded, lung, body, 1.0)


def _places(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Every fifth true voxel, scaled to the grid of ``shape``: the first voxel of the cube round it, once padded."""
    found = np.argwhere(mask)[::5]
    scaled = found * (np.array(shape) / np.array(mask.shape))
    return np.asarray(np.minimum(scaled, np.array(shape) - 1), dtype=np.int32)


def _draw_nodules(nodule_mm: tuple[float, float], rng: np.random.Generator) -> list[_Nodule]:
    drawn = []
    for _ in range(DRAWN_NODULES):
        diameter = float(rng.uniform(*nodule_mm))
        shape = nodule.sample_shape(rng) | {"radius_mm": diameter / 2.0}
        opacity = nodule.shape(lung_grid.SHAPE, lung_grid.SPACING_MM, shape)
        drawn.append(_Nodule(opacity, float(rng.uniform(*LEVEL_HU)), diameter))
    return drawn


def _turned(cube: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Quarter turns in the plane, and mirrored or not along each axis."""
    turned = np.rot90(cube, int(rng.integers(4)), axes=(1, 2))
    flips = tuple(slice(None, None, -1 if rng.integers(2) else 1) for _ in range(3))
    return np.ascontiguousarray(turned[flips])
