"""CT-GAN's cutting, zooming, noise and blending round a picture that no network made.

The generator of CT-GAN (Mirsky et al., USENIX Security 2019) is replaced by a procedural nodule, or by lung from
elsewhere; everything that its released code does before and after is imitated, for that is where the traces are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from tamperscope.attacks import cubes, nodule
from tamperscope.attacks.attack import finish
from tamperscope.records import JSON, FloatArray, Forgery, Volume

BOX_MM = 32.0
SIDE = 32
"""The network's cube: 32 voxels of 1 mm a side; the hole it fills is voxels 6 to 25."""
HOLE = 6
TOUCH_UP = 1.3
"""The touched-up cube has 1.3 times the largest side of the box, in voxels, on all three axes."""
REMOVAL_NOISE_HU = 30.0
"""Standard deviation of CT-GAN's Gaussian noise in a removal; an injection takes 0.6 times that of the local lung."""
INJECTION_LUNG_HU = -600.0
GRAINS = {"none": 0.08, "copied": 0.38, "gaussian": 0.22, "zoomed": 0.16, "white": 0.08, "soft": 0.08}
"""Kinds of touch-up noise and their shares: the published scans hold smooth places as well as white ones."""
DENSE_SOURCE = 0.3
"""Share of copied noise that is taken from anywhere: CT-GAN's fixed place lies in the lung of some scans only."""
WATER_LINE_HU, WATER_LINE_WIDTH_HU = -700.0, 70.0


@dataclass(frozen=True, slots=True)
class CtGanBlend:
    """Inject (maximum of the blend and the original) or remove (wide dome), at 32 mm on a 1 mm grid."""

    mode: Literal["inject", "remove"]
    benign: bool = False
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = BOX_MM

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"ct-gan-blend-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), order, the stand-in for the generator, its artefacts, and noise as CT-GAN adds it."""
        centre = cubes.choose_for(self.mode, volume, rng, at)
        params: dict[str, JSON] = {
            "centre": list(centre),
            "order": int(rng.choice([1, 3, 3, 3, 3])),
            "blur_mm": round(float(rng.uniform(0.0, 1.2)), 3),
            "checker_hu": round(float(rng.choice([0.0, rng.uniform(0.0, 25.0)])), 2),
            "texture_hu": round(float(rng.uniform(0.0, 25.0)), 2),
            "source": list(_air_place(volume, centre, rng)),
            **cubes.sample_grain(volume, rng),
            "grain": str(rng.choice(list(GRAINS), p=list(GRAINS.values()))),
            "grain_at": list(_noise_place(volume, centre, rng)),
            "grain_hu": REMOVAL_NOISE_HU,
            "grain_gain": round(float(rng.choice([1.0, rng.uniform(0.5, 1.2)])), 3),
        }
        if self.mode == "remove":
            params["hole_blur_mm"] = round(float(rng.uniform(0.2, 3.0)), 3)
        else:
            around = volume.voxels[cubes.around(volume, centre, cubes.extent(volume, BOX_MM))]
            lung = around[around < INJECTION_LUNG_HU]
            params["grain_hu"] = round(0.6 * float(lung.std()), 2) if lung.size else 0.0
            params |= nodule.sample_shape(rng)
            params["radius_mm"] = round(float(rng.uniform(3.0, 9.5)), 2)
            params["level_hu"] = round(float(rng.uniform(-80.0, 180.0)), 1)
        return params

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        centre, order = tuple(params["centre"]), params["order"]
        box = cubes.around(volume, centre, cubes.extent(volume, BOX_MM))
        side = int(TOUCH_UP * max(s.stop - s.start for s in box))
        where = cubes.around(volume, centre, (side if volume.shape[0] > 1 else 1, side, side))
        cube = volume.voxels[box]
        grid = (SIDE if cube.shape[0] > 1 else 1, SIDE, SIDE)
        imagined = self._imagine(volume, cubes.resize(cube, grid, order), params)
        pasted = volume.voxels.copy()
        pasted[box] = np.maximum(cubes.resize(imagined, cube.shape, order), -1000.0)
        voxels = volume.voxels.copy()
        noise = cubes.grain(volume, where, params)
        voxels[where] = touch_up(self.mode, pasted[where] + noise, pasted[where], volume.voxels[where])
        return finish(volume, voxels, self.name, params, benign=self.benign)

    def _imagine(self, volume: Volume, context: FloatArray, params: Mapping[str, Any]) -> FloatArray:
        """Stand in for the generator on its 1 mm grid: smooth context, a filled hole, up-sampling texture."""
        rng = np.random.default_rng([int(params["seed"]), 1])
        blur = [float(params["blur_mm"]) if n > 1 else 0.0 for n in context.shape]
        smooth = ndimage.gaussian_filter(context, blur)
        if self.mode == "inject":
            opacity = nodule.shape(context.shape, (1.0, 1.0, 1.0), params)
            inside: float | FloatArray = float(params["level_hu"])
        else:
            source = cubes.around(volume, tuple(params["source"]), cubes.extent(volume, BOX_MM))
            elsewhere = cubes.resize(volume.voxels[source], context.shape, 1)
            airy = elsewhere <= -500.0
            healthy = np.where(airy, elsewhere, np.median(elsewhere[airy]) if airy.any() else np.median(elsewhere))
            # A remover keeps the chest wall: the hole is filled with lung only where its surroundings are lung.
            wide = ndimage.gaussian_filter(context, [4.0 if n > 1 else 0.0 for n in context.shape])
            opacity = np.where(wide < -500.0, _hole(context.shape), 0.0)
            opacity = ndimage.gaussian_filter(opacity, [0.5 if n > 1 else 0.0 for n in context.shape])
            sigma = float(params["hole_blur_mm"])
            inside = ndimage.gaussian_filter(healthy, [sigma if n > 1 else 0.0 for n in context.shape])
        drawn = opacity * inside + (1.0 - opacity) * smooth
        texture = ndimage.gaussian_filter(rng.standard_normal(context.shape), 1.0) * 5.0
        return np.asarray(
            drawn + float(params["texture_hu"]) * texture + float(params["checker_hu"]) * _checker(context.shape),
            dtype=np.float32,
        )


def touch_up(
    mode: Literal["inject", "remove"], noisy: FloatArray, clean: FloatArray, original: FloatArray
) -> FloatArray:
    """The published blends; ``clean`` is the scan after the paste, ``noisy`` the same with noise."""
    if mode == "remove":
        weight = cubes.window("dome", original.shape)
        return weight * noisy + (1.0 - weight) * original
    dense = 1.0 / (1.0 + np.exp(np.clip(-(clean - WATER_LINE_HU) / WATER_LINE_WIDTH_HU, -30, 30)))
    weight = (dense * cubes.window("gauss", original.shape)).astype(np.float32)
    blend: FloatArray = np.maximum(weight * noisy + (1.0 - weight) * original, original)
    return blend


def _noise_place(volume: Volume, near: cubes.Triple, rng: np.random.Generator) -> cubes.Triple:
    """Where the noise is copied from: mostly a random voxel of lung air, at times any voxel of the scan."""
    if rng.random() < DENSE_SOURCE:
        k, j, i = (int(rng.integers(size)) for size in volume.shape)
        return k, j, i
    return _air_place(volume, near, rng)


def _air_place(volume: Volume, near: cubes.Triple, rng: np.random.Generator) -> cubes.Triple:
    """A random voxel of lung air: the first of 50 voxels, else the last. What a removal fills its hole with."""
    place = near
    for _ in range(50):
        k, j, i = (int(rng.integers(size)) for size in volume.shape)
        place = (k, j, i)
        if -990.0 < float(volume.voxels[place]) < cubes.LUNG_AIR_HU:
            break
    return place


def _hole(shape: tuple[int, ...]) -> FloatArray:
    """1 in the cleared centre of the network's cube."""
    hole = np.zeros(shape, dtype=np.float32)
    inner = slice(HOLE, SIDE - HOLE)
    hole[inner if shape[0] > 1 else slice(None), inner, inner] = 1.0
    return hole


def _checker(shape: tuple[int, ...]) -> FloatArray:
    """The period of two that up-sampling by two followed by an even kernel leaves."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij", sparse=True)
    return np.where((k + j + i) % 2 == 0, 1.0, -1.0).astype(np.float32)
