"""CT-GAN: a network puts a nodule into a lung or takes one out (Mirsky et al., USENIX Security 2019).

Every step is that of the released code (ymirsky/CT-GAN), from the cut of the box to the touch-up, on Hounsfield values
and with the spacing that the positions of the slices give. What the release does that a benchmark may not want is an
option: noise copied from one fixed place of the scan, and Slice Thickness taken for the distance of overlapping slices.
The network is a small one of the published kind, trained by `tamperscope train ct-gan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamperscope.attacks import cubes, made_with
from tamperscope.attacks.attack import finish
from tamperscope.attacks.ct_gan_blend import (
    BOX_MM,
    HOLE,
    INJECTION_LUNG_HU,
    REMOVAL_NOISE_HU,
    SIDE,
    TOUCH_UP,
    touch_up,
)
from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError, WeightsError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

Mode: TypeAlias = Literal["inject", "remove"]
NoiseSource: TypeAlias = Literal["random-place", "fixed-place", "gaussian", "none"]
SpacingSource: TypeAlias = Literal["positions", "slice-thickness"]
SPACING_SOURCES: tuple[SpacingSource, ...] = ("positions", "slice-thickness")
NOISE_SOURCES: tuple[NoiseSource, ...] = ("random-place", "fixed-place", "gaussian", "none")

HOLE_MM = float(SIDE - 2 * HOLE)
"""The cleared centre: 20 mm. A picture smaller than that in its plane has no context left."""
OUTSIDE_HU = 0.0
"""What the release takes for the box where it leaves the volume: soft tissue."""
FIXED_PLACE = (0.50, 0.43, 0.27)
"""Where the release copies its noise from, as shares of the volume along k, j and i."""
CEILING_HU, FLOOR_HU = 2000.0, -1000.0
"""Above the first, a voxel becomes the mean of its 5 x 5 x 5 neighbourhood; below the second, the second."""
AIR_HU = (-990.0, cubes.LUNG_AIR_HU)
"""Between them lies the air of the lung, and not that of the room."""
TRIES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Equalisation:
    """The table between Hounsfield units and what the network sees: every value equally frequent, then about ±0.5.

    One table per network, from all voxels of its training: the cumulative histogram, which for N cubes divided by N
    runs from 0 to the 32 768 voxels of one cube. It is kept as knots between which values are interpolated.
    """

    hu: NDArray[np.float64]
    """(K,) Hounsfield units, rising."""
    level: NDArray[np.float64]
    """(K,) equalised values, rising."""
    mean: float
    low: float
    high: float
    """Mean and range of the equalised training set."""

    def forward(self, cube: FloatArray) -> FloatArray:
        """Hounsfield units to the network's unit; values beyond the table take its ends."""
        level = np.interp(cube, self.hu, self.level)
        return np.asarray((level - self.mean) / (self.high - self.low), dtype=np.float32)

    def back(self, cube: FloatArray) -> FloatArray:
        """The network's unit, clipped to ±0.5, to Hounsfield units."""
        level = np.clip(cube, -0.5, 0.5) * (self.high - self.low) + self.mean
        return np.asarray(np.interp(level, self.level, self.hu), dtype=np.float32)

    def to_json(self) -> dict[str, JSON]:
        """As a network's Card keeps it."""
        return {
            "hu": [round(float(x), 2) for x in self.hu],
            "level": [round(float(x), 2) for x in self.level],
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Equalisation:
        """The table of a network, from its Card.

        Raises:
            WeightsError: the Card has none, or one that does not rise.
        """
        try:
            tree = card["equalisation"]
            hu, level = (np.asarray(tree[key], dtype=np.float64) for key in ("hu", "level"))
            table = cls(hu, level, float(tree["mean"]), float(tree["low"]), float(tree["high"]))
            usable = hu.shape == level.shape and hu.size > 1 and table.high > table.low
            usable = usable and bool((np.diff(hu) > 0).all() and (np.diff(level) > 0).all())
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the Card has no equalisation table: {error!r}", hint="train the network") from error
        if not usable:
            raise WeightsError("the equalisation table of the Card does not rise", hint="train the network again")
        return table


@dataclass(frozen=True, slots=True)
class CtGan:
    """Inject or remove: 32 mm at 1 mm, the whole box pasted, and a touch-up of 1.3 times its longest side.

    A volume of one slice is treated in its plane: the slice is repeated to fill the network's cube, whose middle
    slice is pasted. Where the box leaves the volume the network sees soft tissue, as in the release, and what it
    draws there is dropped.
    """

    mode: Mode
    network: Network | None = None
    """None for the one that comes with the package."""
    noise_source: NoiseSource = "random-place"
    """Where `sample` lets the touch-up's noise come from: the release's default is "fixed-place"."""
    spacing_source: SpacingSource = "positions"
    """What counts as the distance of slices: the release takes Slice Thickness (0018,0050) for it."""
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = BOX_MM
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"ct-gan-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), which network, where the noise comes from, its strength where it is Gaussian, its seed.

        Raises:
            AttackError: ``at`` lies outside the volume.
            WeightsError: the network has no Card.
        """
        centre = cubes.choose_for(self.mode, volume, rng, at)
        apart = _slices_apart(volume, self.spacing_source)
        return {
            "centre": list(centre),
            "slices_apart_mm": apart,
            **made_with.record(self._network),
            "noise_source": self.noise_source,
            "noise_at": list(_noise_place(volume, self.noise_source, rng)),
            "noise_hu": REMOVAL_NOISE_HU if self.mode == "remove" else _injection_noise(volume, centre, apart),
            "seed": int(rng.integers(2**31)),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: a place outside the volume, or a record made with another network.
            WeightsError: the network or its Card is missing or damaged.
        """
        made_with.check(self._network, params)
        k, j, i = params["centre"]
        cubes.around(volume, (k, j, i), (1, 1, 1))  # refuses a place outside
        box, side = _sizes(volume, float(params["slices_apart_mm"]))
        original = _cut(volume, (k, j, i), side)
        clean = original.copy()
        clean[_middle(side, box)] = self._imagine(_cut(volume, (k, j, i), box))
        result = touch_up(self.mode, clean + _noise(volume, side, params), clean, original)
        voxels = volume.voxels.copy()
        inside, where = _overlap(volume.shape, (k, j, i), side)
        voxels[where] = result[inside]
        return finish(volume, voxels, self.name, params, benign=self.benign)

    @property
    def _network(self) -> Network:
        return self.network or PACKAGED[self.mode]

    def _imagine(self, cube: FloatArray) -> FloatArray:
        """What the network makes of the box, in Hounsfield units and on the box's own grid."""
        table = Equalisation.of(self._network.card)
        thick = cube.shape[0] > 1
        grid = cubes.resize(cube, (SIDE if thick else 1, SIDE, SIDE), 3)
        masked = table.forward(np.broadcast_to(grid, (SIDE, SIDE, SIDE)))
        masked[(slice(HOLE, SIDE - HOLE),) * 3] = 0.0
        made = table.back(self._network.run(masked=masked[None, None])[0, 0])
        made = np.where(made > CEILING_HU, ndimage.uniform_filter(made, 5), made)
        made = np.maximum(made, np.float32(FLOOR_HU))
        return cubes.resize(made if thick else made[SIDE // 2][None], cube.shape, 3)


PACKAGED: Mapping[Mode, Network] = {"inject": Network("ct-gan-inject"), "remove": Network("ct-gan-remove")}


def _slices_apart(volume: Volume, source: SpacingSource) -> float:
    """Distance of slices in mm, by their positions or as the release has it; by positions where no thickness is stated.

    Raises:
        AttackError: an unknown source.
    """
    if source not in SPACING_SOURCES:
        raise AttackError(f"unknown spacing source {source!r}", hint=f"one of {', '.join(SPACING_SOURCES)}")
    stated = volume.header.get("slice_thickness_mm")
    if source == "positions" or not isinstance(stated, int | float) or stated <= 0:
        return round(volume.spacing_mm[0], 6)
    return round(float(stated), 6)


def _sizes(volume: Volume, slices_apart_mm: float) -> tuple[cubes.Triple, cubes.Triple]:
    """Voxels (k, j, i) of the box of 32 mm, and of the touch-up, which has one length on all axes."""
    k, j, i = (max(round(BOX_MM / mm), 1) for mm in (slices_apart_mm, *volume.spacing_mm[1:]))
    if volume.shape[0] == 1:
        side = int(TOUCH_UP * max(j, i))
        return (1, j, i), (1, side, side)
    side = int(TOUCH_UP * max(k, j, i))
    return (k, j, i), (side, side, side)


def _overlap(
    shape: cubes.Triple, centre: cubes.Triple, size: cubes.Triple
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Of a cube of ``size`` round ``centre``: the part of it that lies in a volume of ``shape``, and where it lies."""
    starts = [c - s // 2 for c, s in zip(centre, size, strict=True)]
    spans = [(max(a, 0), max(min(a + s, n), 0)) for a, s, n in zip(starts, size, shape, strict=True)]
    inside = tuple(slice(first - a, last - a) for a, (first, last) in zip(starts, spans, strict=True))
    return inside, tuple(slice(first, last) for first, last in spans)


def _cut(volume: Volume, centre: cubes.Triple, size: cubes.Triple) -> FloatArray:
    """The cube of ``size`` round ``centre``, 0 HU where it leaves the volume."""
    inside, where = _overlap(volume.shape, centre, size)
    cube = np.full(size, OUTSIDE_HU, dtype=np.float32)
    cube[inside] = volume.voxels[where]
    return cube


def _middle(outer: cubes.Triple, inner: cubes.Triple) -> tuple[slice, ...]:
    """Where a cube of ``inner`` lies in one of ``outer`` with the same centre."""
    return tuple(slice(a // 2 - b // 2, a // 2 - b // 2 + b) for a, b in zip(outer, inner, strict=True))


def _noise_place(volume: Volume, source: NoiseSource, rng: np.random.Generator) -> cubes.Triple:
    """The release's fixed place, or a random voxel of lung air: the first of 200 voxels, else the last."""
    if source == "fixed-place":
        k, j, i = (int(share * n) for share, n in zip(FIXED_PLACE, volume.shape, strict=True))
        return k, j, i
    for _ in range(TRIES):
        k, j, i = (int(rng.integers(n)) for n in volume.shape)
        if AIR_HU[0] < float(volume.voxels[k, j, i]) < AIR_HU[1]:
            break
    return k, j, i


def _injection_noise(volume: Volume, centre: cubes.Triple, slices_apart_mm: float) -> float:
    """0.6 times the standard deviation of the lung round the place, in HU, as the release has it."""
    _, side = _sizes(volume, slices_apart_mm)
    _, where = _overlap(volume.shape, centre, side)
    near = volume.voxels[where]
    lung = near[near < INJECTION_LUNG_HU]
    return round(0.6 * float(lung.std()), 2) if lung.size else 0.0


def _noise(volume: Volume, side: cubes.Triple, params: Mapping[str, Any]) -> FloatArray:
    """Noise of ``side`` in HU from the source that ``params`` name."""
    source = params["noise_source"]
    if source == "none":
        return np.zeros(side, dtype=np.float32)
    if source in ("fixed-place", "random-place"):
        k, j, i = params["noise_at"]
        return cubes.copied_air(_cut(volume, (k, j, i), side))
    if source == "gaussian":
        drawn = {"grain": "zoomed", "grain_gain": 1.0, "grain_hu": params["noise_hu"], "seed": params["seed"]}
        return cubes.grain(volume, (slice(0, side[0]), slice(0, side[1]), slice(0, side[2])), drawn | {"order": 3})
    raise AttackError(f"unknown noise source {source!r}", hint=f"one of {', '.join(NOISE_SOURCES)}")
