"""Synthetic studies: a CT phantom of the chest, two radiographs, and the writer that makes DICOM of a CT volume.

Tests, documents and the demo use them, so that no patient's data is ever needed. The anatomy is analytic (ellipses
with smooth edges) plus two random trees, the pulmonary vessels and the airways; the noise has the spectrum of
filtered back-projection. Every file that is written says that it is synthetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds
from scipy import fft, ndimage

from .errors import UsageError
from .records import JSON, FloatArray, Volume, voxel_digest

Kernel: TypeAlias = Literal["soft", "standard", "sharp"]
Point: TypeAlias = NDArray[np.float64]

MTF50_PER_MM: Mapping[Kernel, float] = {"soft": 0.30, "standard": 0.42, "sharp": 0.70}
"""Frequency (cycles per mm) where a kernel passes half: about what body, standard and lung kernels do."""
FIELD_MM = 360.0
"""Field of view of the anatomy; other image sizes scale the anatomy to fit."""
CHEST_MM = 290.0
"""Height of the chest; a taller stack of slices squeezes the anatomy to fit."""
INTERCEPT = -1024
"""Rescale Intercept of written files; the slope is 1."""

AIR, LUNG, FAT, BLOOD, MUSCLE, CARTILAGE, TRABECULAR, CORTEX = -1000, -850, -100, 42, 50, 110, 230, 680
"""Hounsfield units."""


def chest(
    shape: tuple[int, int, int] = (40, 512, 512),
    spacing_mm: tuple[float, float, float] = (2.5, 0.7, 0.7),
    rng: np.random.Generator | None = None,
    *,
    noise_hu: float = 25.0,
    kernel: Kernel = "standard",
) -> Volume:
    """A CT of a chest that nobody has: body, lungs with vessels and airways, heart, spine, ribs, table.

    Args:
        shape: (D, H, W), at least one voxel each. The anatomy scales with the field of view.
        spacing_mm: Distance of voxels along k (towards the head), j (towards the back) and i (towards the left).
        rng: Draws the anatomy and the noise; without one, always the same patient.
        noise_hu: Standard deviation of the noise at the centre of the body, in Hounsfield units.
        kernel: Reconstruction kernel: blurs the anatomy and colours the noise.

    Returns:
        A CT Volume of integer Hounsfield units in [-1024, 3071], its UIDs derived from its voxels.

    Raises:
        UsageError: a side of ``shape`` or ``spacing_mm`` is not positive, or the kernel is not known.
    """
    _check(shape, spacing_mm)
    if kernel not in MTF50_PER_MM:
        raise UsageError(f"unknown kernel {kernel!r}", hint=f"use one of {', '.join(MTF50_PER_MM)}")
    rng = np.random.default_rng(0) if rng is None else rng
    grid = _Grid.of(shape, spacing_mm)
    patient = _Patient.draw(grid, rng)
    voxels = np.stack([_anatomy(grid, patient, float(z)) for z in grid.z])
    _grow_trees(voxels, grid, patient, rng)
    _reconstruct(voxels, spacing_mm, MTF50_PER_MM[kernel], noise_hu, patient.noise_gain, rng)
    voxels = np.clip(np.rint(voxels), -1024, 3071).astype(np.float32)
    header: dict[str, JSON] = {
        "manufacturer": "tamperscope",
        "model": "phantom",
        "kernel": kernel,
        "body_part": "CHEST",
        "slice_thickness_mm": spacing_mm[0],
    }
    return _volume(voxels, spacing_mm, "CT", header)


def radiograph(
    shape: tuple[int, int] = (512, 512), rng: np.random.Generator | None = None, *, spacing_mm: float = 0.7
) -> Volume:
    """A frontal chest radiograph of simple shapes: two lungs, ribs, heart and spine under quantum noise.

    Args:
        shape: (H, W).
        rng: Draws the shapes and the noise; without one, always the same.
        spacing_mm: Distance of pixels.

    Returns:
        A DX Volume (1, H, W) of 12-bit stored values, bright where the body is dense.

    Raises:
        UsageError: a side of ``shape`` or ``spacing_mm`` is not positive.
    """
    sides, spacing = (1, *shape), (1.0, spacing_mm, spacing_mm)
    _check(sides, spacing)
    rng = np.random.default_rng(0) if rng is None else rng
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    x, y = x[None, :], y[:, None]
    size = rng.uniform(0.92, 1.08, 4)
    edge = 2 / min(shape) + 0.02
    image: FloatArray = 1500 + 900 * np.clip(1.1 - np.abs(x) ** 3 - 0.2 * y**2, 0, 1)
    ribs = 140 * np.cos(2 * np.pi * (y + 0.35 * x**2) * 5.5 * size[0])
    for side in (-1, 1):
        lung = _soft(_ellipse(x, y, side * 0.46, -0.05, 0.34 * size[1], 0.68 * size[2]), edge)
        image += lung * (ribs - 1050)
    image += 800 * _soft(_ellipse(x, y, 0.16, 0.32, 0.34 * size[3], 0.30), edge)
    image += 450 * _soft((np.abs(x) - 0.09).astype(np.float32), edge)
    image += rng.standard_normal(shape, dtype=np.float32) * np.sqrt(np.clip(image, 1, None)) * 0.8
    voxels = np.clip(np.rint(image), 0, 4095).astype(np.float32)[None]
    return _volume(voxels, spacing, "DX", {"body_part": "CHEST", "manufacturer": "tamperscope"}, bits=12)


def knee(
    shape: tuple[int, int] = (448, 448), rng: np.random.Generator | None = None, *, spacing_mm: float = 0.3
) -> Volume:
    """A frontal radiograph of a knee of simple shapes: condyles, joint space, plateau and soft tissue, with grain.

    Args:
        shape: (H, W).
        rng: Draws the shapes and the noise; without one, always the same.
        spacing_mm: Distance of pixels.

    Returns:
        A DX Volume (1, H, W) of 12-bit stored values, bright where the body is dense.

    Raises:
        UsageError: a side of ``shape`` or ``spacing_mm`` is not positive.
    """
    sides, spacing = (1, *shape), (1.0, spacing_mm, spacing_mm)
    _check(sides, spacing)
    rng = np.random.default_rng(0) if rng is None else rng
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    x, y = x[None, :], y[:, None]
    size, edge = rng.uniform(0.95, 1.05, 4), 2 / min(shape) + 0.03
    tissue = _soft(np.abs(x) - 0.82 * size[0] + 0 * y, edge)
    femur = _soft(np.maximum(np.abs(x) - 0.62 * size[1], y + 0.12 + 0.1 * np.cos(2 * np.pi * x)), edge)
    notch = _soft(_ellipse(x, y, 0.0, -0.1, 0.17, 0.16 * size[2]), edge)
    plateau = np.maximum(np.abs(x) - 0.62 * size[1] - 0.1 * np.clip(0.3 - y, 0, 1), 0.08 - y - 0.1 * np.exp(-80 * x**2))
    tibia = _soft(plateau, edge) * (0.75 + 0.25 * np.exp(-8 * np.clip(y - 0.1, 0, 2)))
    image: FloatArray = 500 + 700 * tissue + 1500 * np.maximum(femur * (1 - 0.75 * notch), tibia)
    grain = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), min(shape) / 150)
    image += (femur + tibia) * grain * np.float32(120 / max(float(grain.std()), 1e-6))
    image += rng.standard_normal(shape, dtype=np.float32) * np.sqrt(np.clip(image, 1, None)) * 0.6
    voxels = np.clip(np.rint(image), 0, 4095).astype(np.float32)[None]
    return _volume(voxels, spacing, "DX", {"body_part": "KNEE", "manufacturer": "tamperscope"}, bits=12)


def _check(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> None:
    if min(shape) < 1 or min(spacing_mm) <= 0:
        raise UsageError(f"shape {shape} at {spacing_mm} mm has an empty side", hint="use sides above zero")


def _volume(
    voxels: FloatArray,
    spacing_mm: tuple[float, float, float],
    modality: str,
    header: Mapping[str, JSON],
    bits: int = 16,
) -> Volume:
    voxels = voxels + np.float32(0)  # no -0.0, which would not come back from integers with the same digest
    depth, height, width = voxels.shape
    dk, dj, di = spacing_mm
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = dk, dj, di, 1.0
    affine[:3, 3] = -di * (width - 1) / 2, -dj * (height - 1) / 2, -dk * (depth - 1) / 2
    series = _series_uid(voxels, affine)
    return Volume(
        voxels=voxels,
        affine=affine,
        modality=modality,
        bits_stored=bits,
        header=dict(header),
        series_uid=series,
        study_uid=_uid("study", series),
        sources=tuple(f"phantom/{_file_name(k)}" for k in range(depth)),
        sop_instance_uids=tuple(_uid(series, str(k)) for k in range(depth)),
        digest=voxel_digest(voxels),
    )


# --- anatomy: millimetres, x to the patient's left, y to the back, z to the head, origin mid-chest ---


@dataclass(frozen=True, slots=True)
class _Grid:
    """The voxels in the anatomy's millimetres: x (1, W), y (H, 1), z (D,); ``px`` is the side of a pixel."""

    x: FloatArray
    y: FloatArray
    z: FloatArray
    px: float

    @classmethod
    def of(cls, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> _Grid:
        depth, height, width = shape
        scale = FIELD_MM / max(height * spacing_mm[1], width * spacing_mm[2])
        step = min(spacing_mm[0] * scale, CHEST_MM / depth), spacing_mm[1] * scale, spacing_mm[2] * scale
        z, y, x = ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * d for n, d in zip(shape, step, strict=True))
        return cls(x[None, :].astype(np.float32), y[:, None].astype(np.float32), z, max(step[1], step[2]))

    def box(self, low: Point, high: Point) -> tuple[slice, slice, slice]:
        """The voxels between two points (x, y, z)."""
        axes = (self.z, self.y[:, 0], self.x[0])
        return tuple(  # type: ignore[return-value]
            slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right")))
            for axis, a, b in zip(axes, low[::-1], high[::-1], strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Patient:
    """What differs from patient to patient. Fields (H, W) are radii: 1 at the surface of the organ."""

    body: FloatArray
    cage: FloatArray
    lungs: tuple[FloatArray, FloatArray]
    size: NDArray[np.float64]
    """Scale factors near 1 of heart, mediastinum, spine, ribs, aorta."""
    fat_mm: float
    rib_phase: float
    texture: FloatArray
    """(8, H, W): layers of smooth unit noise from foot to head."""

    @classmethod
    def draw(cls, grid: _Grid, rng: np.random.Generator) -> _Patient:
        girth = rng.uniform(0.96, 1.05, 2)
        body = _blob(grid, (0, -4), (160 * girth[0], 112 * girth[1]), 0.015, rng)
        cage = _blob(grid, (0, -2), (137 * girth[0], 93 * girth[1]), 0.0, rng)
        right, left = (
            _blob(grid, (s * 70, -4), (59 * girth[0], 86 * girth[1] * rng.uniform(0.95, 1.03)), 0.03, rng)
            for s in (-1, 1)
        )
        return cls(
            body=body,
            cage=cage,
            lungs=(right, left),
            size=rng.uniform(0.9, 1.1, 5),
            fat_mm=float(rng.uniform(7, 14)),
            rib_phase=float(rng.uniform(0, 28)),
            texture=_texture((8, *body.shape), rng),
        )

    @property
    def noise_gain(self) -> FloatArray:
        """(H, W): 1 at the centre of the body, where the fewest photons arrive, 0.6 outside."""
        return np.asarray(0.6 + 0.4 * np.clip(1 - self.body**2, 0, 1), dtype=np.float32)


def _blob(
    grid: _Grid, centre: tuple[float, float], axes: tuple[float, float], wobble: float, rng: np.random.Generator
) -> FloatArray:
    """(H, W) radius of an ellipse whose outline wavers by the harmonics 2 to 5."""
    dx, dy = (grid.x - centre[0]) / np.float32(axes[0]), (grid.y - centre[1]) / np.float32(axes[1])
    radius = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx)
    for n in range(2, 6):
        radius *= 1 + np.float32(wobble * rng.uniform(-1, 1)) * np.cos(n * angle + np.float32(rng.uniform(0, 6.3)))
    return np.asarray(radius, dtype=np.float32)


def _texture(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Layers (N, H, W) of smooth noise, unit variance, some 24 grains across."""
    depth, height, width = shape
    coarse = rng.standard_normal((depth, 24, 24), dtype=np.float32)
    rows, columns = np.linspace(0, 23, height), np.linspace(0, 23, width)
    at = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(layer, at, order=3, mode="reflect") for layer in coarse])


def _soft(distance: FloatArray, edge: float) -> FloatArray:
    """Fraction of a voxel inside a surface at ``distance`` (negative inside): the partial volume effect."""
    return np.asarray(np.clip(0.5 - distance / np.float32(edge), 0, 1), dtype=np.float32)


def _ellipse(x: FloatArray, y: FloatArray, cx: float, cy: float, a: float, b: float) -> FloatArray:
    """About the signed distance to an ellipse, in the unit of its axes."""
    radius = np.hypot((x - np.float32(cx)) / np.float32(a), (y - np.float32(cy)) / np.float32(b))
    return np.asarray((radius - 1) * np.sqrt(a * b), dtype=np.float32)


def _blend(image: FloatArray, fraction: FloatArray, hu: float | FloatArray) -> None:
    image += fraction * (hu - image)


def _disc(image: FloatArray, grid: _Grid, at: tuple[float, float], axes: tuple[float, float], hu: float) -> None:
    """Fill an ellipse, touching only its surroundings."""
    reach = np.array([axes[0] + grid.px, axes[1] + grid.px, 0])
    centre = np.array([*at, 0.0])
    _, rows, columns = grid.box(centre - reach, centre + reach)
    distance = _ellipse(grid.x[:, columns], grid.y[rows], *at, *axes)
    _blend(image[rows, columns], _soft(distance, grid.px), hu)


def _bone(image: FloatArray, grid: _Grid, at: tuple[float, float], axes: tuple[float, float]) -> None:
    """An ellipse of trabecular bone in a cortex of 2 mm."""
    _disc(image, grid, at, axes, CORTEX)
    _disc(image, grid, at, (axes[0] - 2, axes[1] - 2), TRABECULAR)


def _anatomy(grid: _Grid, patient: _Patient, z: float) -> FloatArray:
    """One slice (H, W) in Hounsfield units at height ``z``, without vessels, airways and noise."""
    image = np.full(np.broadcast_shapes(grid.x.shape, grid.y.shape), AIR, dtype=np.float32)
    texture = _layer(patient.texture, z)
    taper = 1 - 0.12 * max(z, 0) / (CHEST_MM / 2)
    _table(image, grid)
    depth = (patient.body / np.float32(taper) - 1) * 130
    _blend(image, _soft(depth, grid.px), 10.0)
    _blend(image, _soft(depth + 2, grid.px), FAT + 6 * texture)
    _blend(image, _soft(depth + patient.fat_mm, grid.px), MUSCLE + 5 * texture)
    _lungs(image, grid, patient, z, taper, texture)
    _mediastinum(image, grid, patient, z)
    _ribs(image, grid, patient, z, taper)
    _spine(image, grid, patient, z)
    return image


def _layer(texture: FloatArray, z: float) -> FloatArray:
    """Linear interpolation between the layers of a texture."""
    at = float(np.clip(z / CHEST_MM + 0.5, 0, 1)) * (len(texture) - 1)
    low = min(int(at), len(texture) - 2)
    return np.asarray(texture[low] * (low + 1 - at) + texture[low + 1] * (at - low), dtype=np.float32)


def _table(image: FloatArray, grid: _Grid) -> None:
    surface = grid.y - 118 + 6 * (grid.x / 160) ** 2
    inside = np.maximum(np.abs(surface - 8) - 8, np.abs(grid.x) - 170)
    _blend(image, _soft(inside, grid.px), -250.0)
    _blend(image, _soft(inside + 2.5, grid.px), -930.0)


def _lungs(image: FloatArray, grid: _Grid, patient: _Patient, z: float, taper: float, texture: FloatArray) -> None:
    """Two lungs that narrow towards the apex and stand on the domes of the diaphragm."""
    apex = np.sqrt(max(1 - (max(z + 20, 0) / 158) ** 2, 1e-4))
    parenchyma = LUNG + 18 * texture + 0.25 * grid.y
    for radius in patient.lungs:
        wall = np.maximum((radius / np.float32(apex) - 1) * 60, (patient.cage / np.float32(taper) - 1) * 112 + 7)
        dome = (-128 + 55 * np.exp(-(radius**2)) - z).astype(np.float32)
        _blend(image, np.minimum(_soft(wall, grid.px), _soft(dome, 3.0)), parenchyma)


def _mediastinum(image: FloatArray, grid: _Grid, patient: _Patient, z: float) -> None:
    """Mediastinum with its fat, heart, and the great vessels."""
    heart, width, _, _, aorta = patient.size
    _disc(image, grid, (0, 8), (26 * width, 74), FAT + 20)
    _disc(image, grid, (0, 12), (21 * width, 58), 40)
    bulge = 1 - ((z + 50) / (72 * heart)) ** 2
    if bulge > 0:
        grown = heart * np.sqrt(bulge)
        _disc(image, grid, (20, -18), (60 * grown + 1, 50 * grown + 1), FAT)
        _disc(image, grid, (20, -18), (56 * grown + 1, 46 * grown + 1), BLOOD)
    _disc(image, grid, (24, 44), (12 * aorta, 12 * aorta), BLOOD)
    if -30 < z < 70:
        _disc(image, grid, (-8, -22), (15 * aorta, 15 * aorta), BLOOD)
        _disc(image, grid, (-26, -10), (9, 10), BLOOD)


def _ribs(image: FloatArray, grid: _Grid, patient: _Patient, z: float, taper: float) -> None:
    """Ribs run obliquely: an axial slice cuts several, each as a short arc of the cage."""
    across = (patient.cage / np.float32(taper) - 1) * 112
    along = (z - 0.45 * grid.y + 0.08 * np.abs(grid.x) + patient.rib_phase) % 28 - 14
    radius = np.hypot(across / 4.5, along / 7) / np.float32(patient.size[3])
    radius += np.maximum(26 - np.abs(grid.x), 0)  # none behind the spine or the sternum
    bone = np.where(grid.y < -62, CARTILAGE, np.where(radius < 0.6, TRABECULAR, CORTEX)).astype(np.float32)
    _blend(image, _soft((radius - 1) * 5, grid.px), bone)
    if z > -70:
        _bone(image, grid, (0, -93 * taper), (19, 6.5))


def _spine(image: FloatArray, grid: _Grid, patient: _Patient, z: float) -> None:
    """Vertebrae of 21 mm with discs of 5 mm between them; behind them the canal, the arch and the processes."""
    size, y = patient.size[2], 54.0
    in_disc = (z + patient.rib_phase) % 26 < 5
    _bone(image, grid, (0, y + 30 * size), (3.5, 11))
    for side in (-1, 1):
        _bone(image, grid, (side * 24 * size, y + 20), (13, 5.5))
    _bone(image, grid, (0, y + 20 * size), (14 * size, 13 * size))
    _disc(image, grid, (0, y + 20 * size), (9 * size, 8 * size), 25)
    if in_disc:
        _disc(image, grid, (0, y), (19 * size, 15 * size), CARTILAGE)
    else:
        _bone(image, grid, (0, y), (20 * size, 16 * size))


# --- trees: vessels and airways as tapering tubes ---


@dataclass(frozen=True, slots=True)
class _Tube:
    start: Point
    end: Point
    radii: tuple[float, float]


def _grow_trees(voxels: FloatArray, grid: _Grid, patient: _Patient, rng: np.random.Generator) -> None:
    carina = np.array([0.0, 12.0, 35.0])
    for index, side in enumerate((-1, 1)):
        hilum = np.array([side * 34.0, 10.0, 5.0])
        lung = patient.lungs[index]
        for _ in range(16):
            for tube in _branches(hilum, _heading(side, rng), 4.4, 24.0, max(0.8, grid.px / 3), rng):
                if _inside(tube.start, lung, grid):
                    _paint(voxels, grid, tube, 45.0, lung_only=True)
        bronchi = [_Tube(carina, hilum, (7.5, 6.0))]
        for _ in range(3):
            bronchi += _branches(hilum, _heading(side, rng), 3.0, 22.0, 1.8, rng)
        for tube in bronchi:
            walled = _Tube(tube.start, tube.end, (tube.radii[0] + 1.0, tube.radii[1] + 1.0))
            _paint(voxels, grid, walled, 0.0, lung_only=True)
            _paint(voxels, grid, tube, -985.0, lung_only=False)
    _paint(voxels, grid, _Tube(carina, np.array([0.0, 2.0, CHEST_MM]), (9.0, 9.0)), -995.0, lung_only=False)


def _heading(side: int, rng: np.random.Generator) -> Point:
    way = np.array([side * rng.uniform(0.3, 1.0), rng.uniform(-1, 1), rng.uniform(-1, 1)])
    return np.asarray(way / np.linalg.norm(way))


def _branches(
    start: Point, way: Point, radius: float, length: float, thinnest: float, rng: np.random.Generator
) -> Iterator[_Tube]:
    """A binary tree. Children have 0.79 of the radius: r³ = r₁³ + r₂³ (Murray 1926, PNAS 12:207)."""
    end = start + way * length * rng.uniform(0.75, 1.25)
    yield _Tube(start, end, (radius, radius * 0.79))
    if radius * 0.79 > thinnest:
        aside = np.cross(way, rng.standard_normal(3))
        aside *= rng.uniform(0.4, 0.8) / np.linalg.norm(aside)
        for turn in (aside, -aside):
            child = way + turn
            yield from _branches(end, child / np.linalg.norm(child), radius * 0.79, length * 0.8, thinnest, rng)


def _inside(point: Point, radius: FloatArray, grid: _Grid) -> bool:
    row = min(int(np.searchsorted(grid.y[:, 0], point[1])), grid.y.size - 1)
    column = min(int(np.searchsorted(grid.x[0], point[0])), grid.x.size - 1)
    return bool(radius[row, column] < 1.1)


def _paint(voxels: FloatArray, grid: _Grid, tube: _Tube, hu: float, *, lung_only: bool) -> None:
    """Fill a tapering tube in place; ``lung_only`` leaves what is denser than lung, and air, alone."""
    margin = max(tube.radii) + grid.px
    box = grid.box(np.minimum(tube.start, tube.end) - margin, np.maximum(tube.start, tube.end) + margin)
    part = voxels[box]
    if not part.size:
        return
    axis = (tube.end - tube.start).astype(np.float32)
    offset = [
        grid.x[:, box[2]][None] - np.float32(tube.start[0]),
        grid.y[box[1]][None] - np.float32(tube.start[1]),
        grid.z[box[0]][:, None, None] - np.float32(tube.start[2]),
    ]
    along = np.clip(sum(o * a for o, a in zip(offset, axis, strict=True)) / (axis @ axis), 0, 1)
    distance = np.sqrt(sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True)))
    radius = tube.radii[0] + (tube.radii[1] - tube.radii[0]) * along
    fraction = _soft((distance - radius).astype(np.float32), grid.px)
    if lung_only:
        fraction = fraction * ((part > -945) & (part < -300))
    _blend(part, fraction, hu)


# --- image formation ---


def _reconstruct(
    voxels: FloatArray,
    spacing_mm: tuple[float, float, float],
    mtf50: float,
    noise_hu: float,
    gain: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Blur each slice by the kernel and add noise, in place.

    Noise power after filtered back-projection is that of the ramp times the kernel, NPS(f) ~ f · MTF(f)²
    (Riederer, Pelc & Chesler 1978, Phys Med Biol 23:446). Neighbouring slices share some of it, as those of a
    helical scan do.
    """
    shape = voxels.shape[1:]
    rows, columns = fft.fftfreq(shape[0], spacing_mm[1]), fft.rfftfreq(shape[1], spacing_mm[2])
    frequency = np.hypot(rows[:, None], columns[None, :]).astype(np.float32)
    mtf = np.exp2(-((frequency / np.float32(mtf50)) ** 2))
    colour = np.sqrt(frequency) * mtf
    unit = np.std(fft.irfft2(colour, s=shape)) * np.sqrt(shape[0] * shape[1])
    strength = np.float32(noise_hu / max(float(unit), 1e-6)) * gain
    previous = rng.standard_normal(shape, dtype=np.float32)
    for image in voxels:
        white = rng.standard_normal(shape, dtype=np.float32)
        noise = np.float32(0.95) * white + np.float32(np.sqrt(1 - 0.95**2)) * previous
        image[...] = fft.irfft2(fft.rfft2(image) * mtf, s=shape)
        image += strength * fft.irfft2(fft.rfft2(noise) * colour, s=shape)
        previous = white


# --- DICOM ---


def write_dicom(volume: Volume, folder: Path, *, patient_name: str = "PHANTOM^CHEST") -> list[Path]:
    """Write a CT volume as a series of CT Image Storage objects, marked as synthetic, one file a slice.

    Stored as int16 in Explicit VR Little Endian with Rescale Intercept -1024 and slope 1, so Hounsfield units are
    rounded to integers. Series and SOP Instance UIDs derive from the voxels: other pixels get other UIDs, and
    writing twice gives the same bytes.

    Args:
        volume: A CT Volume, voxels (D, H, W) in Hounsfield units.
        folder: Made if it is missing.
        patient_name: DICOM person name.

    Returns:
        The files in the order of the slices.

    Raises:
        UsageError: not a grey CT volume, values that int16 cannot hold, or a file that is already there.
    """
    if volume.modality != "CT" or volume.voxels.ndim != 3:
        raise UsageError(
            f"cannot write modality {volume.modality} with shape {volume.voxels.shape}", hint="give a CT volume"
        )
    stored = np.rint(volume.voxels.astype(np.float64)) - INTERCEPT
    if not (np.isfinite(stored).all() and stored.min() >= -(2**15) and stored.max() < 2**15):
        raise UsageError("the voxels do not fit 16 bits", hint="Hounsfield units lie between -1024 and 3071")
    folder = Path(folder)
    paths = [folder / _file_name(k) for k in range(volume.shape[0])]
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is already there", hint="choose an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    series = _series_uid(volume.voxels, volume.affine)
    for k, path in enumerate(paths):
        dataset = _dataset(volume, series, k, patient_name)
        dataset.PixelData = stored[k].astype("<i2").tobytes()
        dataset.save_as(path, enforce_file_format=True)
    return paths


def _file_name(k: int) -> str:
    return f"IM{k + 1:04d}.dcm"


def _uid(*parts: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) that depends on the parts alone."""
    return f"2.25.{int.from_bytes(hashlib.sha256('/'.join(parts).encode()).digest()[:16], 'big')}"


def _series_uid(voxels: FloatArray, affine: NDArray[np.float64]) -> str:
    content = hashlib.sha256(np.ascontiguousarray(voxels, dtype="<f4").tobytes())
    content.update(np.ascontiguousarray(affine, dtype="<f8").tobytes())
    return _uid("series", content.hexdigest())


def _dataset(volume: Volume, series_uid: str, k: int, patient_name: str) -> Dataset:
    """Everything of slice ``k`` but its pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = _uid(series_uid, str(k))
    dataset.StudyInstanceUID = volume.study_uid or _uid("study", series_uid)
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = _uid("frame", dataset.StudyInstanceUID)
    dataset.PatientName = patient_name
    dataset.PatientID = "PHANTOM"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID = dataset.PositionReferenceIndicator = dataset.KVP = dataset.AcquisitionNumber = ""
    dataset.PatientPosition = "HFS"
    dataset.Modality = "CT"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, k + 1
    _describe_equipment(dataset, volume.header)
    _describe_geometry(dataset, volume, k)
    _describe_pixels(dataset, volume)
    return dataset


def _describe_equipment(dataset: Dataset, header: Mapping[str, JSON]) -> None:
    dataset.Manufacturer = str(header.get("manufacturer") or "tamperscope")
    dataset.ManufacturerModelName = str(header.get("model") or "")
    dataset.BodyPartExamined = str(header.get("body_part") or "CHEST")
    kernel = header.get("kernel")
    dataset.ConvolutionKernel = [str(part) for part in kernel] if isinstance(kernel, list) else str(kernel or "")
    dataset.SyntheticData = "YES"
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109100", "DCM"
    purpose.CodeMeaning = "Synthesizing Equipment"
    equipment = Dataset()
    equipment.Manufacturer = "tamperscope"
    equipment.ContributionDescription = "Made or changed by a program; not a record of a patient"
    equipment.PurposeOfReferenceCodeSequence = Sequence([purpose])
    dataset.ContributingEquipmentSequence = Sequence([equipment])


def _describe_geometry(dataset: Dataset, volume: Volume, k: int) -> None:
    """Image Plane Module, PS3.3 C.7.6.2: the first cosine runs along a row, that is with the column index."""
    dk, dj, di = volume.spacing_mm
    row, column = volume.affine[:3, 2] / di, volume.affine[:3, 1] / dj
    position = volume.position_mm((k, 0, 0))
    dataset.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in (*row, *column)]
    dataset.ImagePositionPatient = [format_number_as_ds(v) for v in position]
    dataset.PixelSpacing = [format_number_as_ds(dj), format_number_as_ds(di)]
    thickness = volume.header.get("slice_thickness_mm")
    dataset.SliceThickness = format_number_as_ds(float(thickness) if isinstance(thickness, int | float) else dk)
    dataset.SliceLocation = format_number_as_ds(position[2])


def _describe_pixels(dataset: Dataset, volume: Volume) -> None:
    _, dataset.Rows, dataset.Columns = volume.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    if volume.padding is not None:
        dataset.PixelPaddingValue = round(volume.padding) - INTERCEPT
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = INTERCEPT, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = -600, 1500
