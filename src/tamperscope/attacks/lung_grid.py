"""The grid on which the small networks see a place of the lung: 16 slices of 2 mm, 32 x 32 pixels of 1 mm.

A box of 32 mm a side as in CT-GAN (Mirsky et al., USENIX Security 2019), but with slices of 2 mm, which is finer than
most scans have, and half the work. The slices become the channels of networks in two dimensions.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tamperscope.attacks import cubes
from tamperscope.errors import AttackError
from tamperscope.records import FloatArray, Volume

BOX_MM = 32.0
SHAPE = (16, 32, 32)
SPACING_MM = (2.0, 1.0, 1.0)
WINDOW_HU = (-1000.0, 400.0)
"""What the networks see as -1 to 1: air to dense soft tissue."""

PASTES = ("cube", "difference")

Box: TypeAlias = tuple[slice, slice, slice]


def see(volume: Volume, centre: cubes.Triple, order: cubes.Order) -> tuple[Box, FloatArray]:
    """The box round voxel ``centre`` (k, j, i), and what lies in it as a cube of `SHAPE` in Hounsfield units.

    A volume smaller than the box fills the middle of the cube; its border is repeated, so that one slice becomes 16.

    Raises:
        AttackError: ``centre`` lies outside the volume.
    """
    where = cubes.around(volume, centre, cubes.extent(volume, BOX_MM))
    cube = cubes.resize(volume.voxels[where], _filled(volume, where), order)
    return where, np.pad(cube, _padding(cube.shape), mode="edge")


def bring_back(
    volume: Volume, where: Box, seen: FloatArray, drawn: FloatArray, how: str, order: cubes.Order
) -> FloatArray:
    """What was ``drawn`` over the cube ``seen``, on the voxels ``where`` of the volume.

    "cube" interpolates the drawn cube, so that fine detail and noise of the scan are lost in all of the box, as in
    CT-GAN; "difference" interpolates what was changed and adds it to the scan.

    Raises:
        AttackError: another way.
    """
    if how == "cube":
        return _native(volume, where, drawn, order)
    if how == "difference":
        return volume.voxels[where] + _native(volume, where, drawn - seen, order)
    raise AttackError(f"unknown way to paste {how!r}", hint=f"one of {', '.join(PASTES)}")


def _native(volume: Volume, where: Box, cube: FloatArray, order: cubes.Order) -> FloatArray:
    filled = _filled(volume, where)
    inner = tuple(slice(before, before + size) for (before, _), size in zip(_padding(filled), filled, strict=True))
    return cubes.resize(cube[inner], volume.voxels[where].shape, order)


def distance_mm() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Signed millimetres from the middle of the cube along k, j and i, each ready to broadcast to `SHAPE`."""
    axes = [
        (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(mm)
        for size, mm in zip(SHAPE, SPACING_MM, strict=True)
    ]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    return k, j, i


def _filled(volume: Volume, where: Box) -> tuple[int, ...]:
    """Voxels of the grid that the box takes: all of them unless the volume ends before."""
    filled = []
    for cut, mm, size, step in zip(where, volume.spacing_mm, SHAPE, SPACING_MM, strict=True):
        held = cut.stop - cut.start
        whole = held >= round(BOX_MM / mm)
        filled.append(size if whole else int(np.clip(round(held * mm / step), 1, size)))
    return tuple(filled)


def _padding(filled: tuple[int, ...]) -> list[tuple[int, int]]:
    gaps = [size - taken for size, taken in zip(SHAPE, filled, strict=True)]
    return [(gap // 2, gap - gap // 2) for gap in gaps]
