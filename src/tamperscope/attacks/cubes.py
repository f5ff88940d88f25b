"""Cut, resize, window and grain: the parts that local attacks share.

All arrays are (k, j, i). A volume of one slice is treated in its plane, and a cube that would leave the volume is
moved inside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from tamperscope import anatomy
from tamperscope.attacks.attack import Attack
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, MaskArray, Volume

Triple: TypeAlias = tuple[int, int, int]
Order: TypeAlias = Literal[0, 1, 2, 3, 4, 5]
"""Of a spline."""

LUNG_AIR_HU = -800.0
"""CT-GAN takes what lies below as noise of the lung's air (ct_gan's touch-up)."""
SIMILAR = 150.0
"""Values (HU for CT) within which two places count as the same kind of tissue."""
GRAINS = ("none", "white", "soft", "copied", "residual", "spectrum")
WINDOWS = ("hard", "gauss", "dome", "tukey", "ellipsoid")


REGIONS = ("lungs", "bones", "body")
"""Where `place_in` can look. Lungs and bones are found in CT only."""


def require(volume: Volume, attack: Attack) -> None:
    """Refuse, with the reason, a volume in which ``attack`` (or a step of a `chain.Chain`) cannot mean anything.

    Raises:
        AttackError: a colour picture, another modality than the attack is made for, no pixel spacing where it works
            in millimetres, or a picture smaller than its box in the slice plane. A stack that is thinner than the
            box is forged in the slices that it has.
    """
    for step in getattr(attack, "steps", (attack,)):
        _require(volume, step.name, getattr(step, "modalities", ()), getattr(step, "box_mm", 0.0))


def _require(volume: Volume, name: str, modalities: Collection[str], box_mm: float) -> None:
    if volume.voxels.ndim != 3:
        raise AttackError(f"{name} cannot forge a colour picture {volume.voxels.shape}", hint="save it as grey")
    if modalities and volume.modality not in modalities:
        raise AttackError(
            f"{name} is made for {', '.join(modalities)}, this is {volume.modality}",
            hint="choose another attack, or state the modality if the file does not",
        )
    if not box_mm:
        return
    if volume.geometry == "none":
        raise AttackError(
            f"{name} works in millimetres, and the picture states no pixel spacing",
            hint="state the spacing, or choose an attack that works in pixels",
        )
    sides = [n * mm for n, mm in zip(volume.shape[1:], volume.spacing_mm[1:], strict=True)]
    if min(sides) < box_mm:
        raise AttackError(
            f"{name} needs {box_mm:g} x {box_mm:g} mm in the slice plane, the picture is"
            f" {sides[0]:.1f} x {sides[1]:.1f} mm",
            hint="choose a series with a larger field of view, or another attack",
        )


def check_inside_body(volume: Volume, at: Triple) -> None:
    """Refuse a place that a user gave and that shows no patient. Where no body is found at all, any place will do.

    In coarse pictures a lung may be cut open and lost to the body; so what has body on both sides, along its row or its
    column, is inside as well.

    Raises:
        AttackError: ``at`` (k, j, i) lies outside the volume, or further than a few pixels outside the body.
    """
    k, j, i = _inside(volume, at)
    found = ndimage.binary_dilation(body(volume.slab(k, k + 1))[0], iterations=anatomy.STEP)
    if found[j, i] or any(line[:n].any() and line[n:].any() for line, n in ((found[j], i), (found[:, i], j))):
        return
    if found.any():
        rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
        hint = f"in slice {k} it spans rows {rows[0]} to {rows[-1]} and columns {columns[0]} to {columns[-1]}"
    else:
        slices = np.flatnonzero(body(volume).any(axis=(1, 2)))
        if slices.size == 0:
            return
        hint = f"slice {k} shows none; slices {slices[0]} to {slices[-1]} do"
    raise AttackError(f"the place {(k, j, i)} lies outside the body", hint=hint)


def body(volume: Volume) -> MaskArray:
    """(D, H, W): the patient of a CT; of any other picture what is not air (`anatomy.tissue`)."""
    if volume.modality == "CT":
        return anatomy.body(volume.luminance)
    return anatomy.tissue(-volume.luminance if volume.photometric == "MONOCHROME1" else volume.luminance)


def choose_place(volume: Volume, rng: np.random.Generator, at: Triple | None) -> Triple:
    """``at`` if it is inside, else a random voxel (k, j, i) of a CT's lungs, else of the body, else of the picture."""
    return _inside(volume, at) if at is not None else choose_places(volume, rng, 1)[0]


def choose_for(mode: str, volume: Volume, rng: np.random.Generator, at: Triple | None) -> Triple:
    """The place of an attack that removes (`choose_finding`) or injects (`choose_place`).

    Raises:
        AttackError: see `choose_finding`.
    """
    return choose_finding(volume, rng, at) if mode == "remove" else choose_place(volume, rng, at)


def choose_finding(volume: Volume, rng: np.random.Generator, at: Triple | None) -> Triple:
    """``at`` if it is inside, else the middle of a dense body in a CT's lungs, larger ones likelier.

    In what is no CT, any place: see `choose_place`.

    Raises:
        AttackError: ``at`` lies outside the volume, or there is nothing in the lungs that could be taken out.
    """
    if at is not None or volume.modality != "CT":
        return choose_place(volume, rng, at)
    found = anatomy.findings(volume.voxels, volume.spacing_mm)
    if not found:
        raise AttackError(
            f"nothing to remove: no dense body ends inside the lungs of this volume {volume.shape}",
            hint="choose the place yourself (--at), or another scan",
        )
    sizes = np.array([diameter for _, diameter in found]) ** 2
    return found[int(rng.choice(len(found), p=sizes / sizes.sum()))][0]


def choose_places(volume: Volume, rng: np.random.Generator, count: int) -> list[Triple]:
    """Several random voxels (k, j, i) of the kind that `choose_place` gives without ``at``."""
    for name in ("lungs", "body") if volume.modality == "CT" else ("body",):
        places = _random_true(_find(volume, name), rng, count)
        if places:
            return places
    return anywhere(volume, rng, count)


def anywhere(volume: Volume, rng: np.random.Generator, count: int) -> list[Triple]:
    """Random voxels (k, j, i) of the whole grid."""
    return [index(int(rng.integers(size)) for size in volume.shape) for _ in range(count)]


def plain_place(volume: Volume, size: Triple, rng: np.random.Generator) -> Triple:
    """A voxel whose surroundings of ``size`` hold noise and little else, to take grain from: the best of 40.

    The less the residual's extremes exceed its median size, the fewer edges it holds. Air that the file clipped has no
    residual, and comes last.
    """

    def edges(place: Triple) -> float:
        residual = np.abs(_high_pass(volume.voxels[around(volume, place, size)]))
        middle = float(np.median(residual))
        return float(np.percentile(residual, 99.5)) / middle if middle > 0.0 else np.inf

    return min(choose_places(volume, rng, 20) + anywhere(volume, rng, 20), key=edges)


def place_in(volume: Volume, rng: np.random.Generator, region: str) -> Triple:
    """A random voxel (k, j, i) of ``region``, one of `REGIONS`.

    Raises:
        AttackError: an unknown region, lungs or bones of what is no CT, or nothing of it in the volume.
    """
    if region not in REGIONS:
        raise AttackError(f"unknown region {region!r}", hint=f"one of {', '.join(REGIONS)}")
    if region != "body" and volume.modality != "CT":
        raise AttackError(f"{region} are found in CT only, this is {volume.modality}", hint="choose body, or a place")
    places = _random_true(_find(volume, region), rng, 1)
    if not places:
        raise AttackError(f"no {region} found in the volume {volume.shape}", hint="choose another region, or a place")
    return places[0]


def _find(volume: Volume, region: str) -> MaskArray:
    if region == "body":
        return body(volume)
    return anatomy.lungs(volume.voxels) if region == "lungs" else anatomy.bones(volume.voxels)


def _inside(volume: Volume, place: Triple) -> Triple:
    if any(not 0 <= index < size for index, size in zip(place, volume.shape, strict=True)):
        raise AttackError(
            f"place {place} lies outside the volume {volume.shape}", hint="give an index (k, j, i) inside"
        )
    return place


def _random_true(mask: MaskArray, rng: np.random.Generator, count: int) -> list[Triple]:
    places = np.flatnonzero(mask)
    if places.size == 0:
        return []
    return [index(np.unravel_index(int(rng.choice(places)), mask.shape)) for _ in range(count)]


def index(numbers: Iterable[Any]) -> Triple:
    """Three numbers, of NumPy or of a record, as an index (k, j, i)."""
    k, j, i = (int(number) for number in numbers)
    return k, j, i


def similar_place(volume: Volume, like: Triple, rng: np.random.Generator) -> Triple:
    """A random voxel (k, j, i) of about the value at ``like``: the first of 50 within 150 of it, else the nearest."""
    tried: list[tuple[float, Triple]] = []
    for _ in range(50):
        place = index(int(rng.integers(size)) for size in volume.shape)
        tried.append((abs(float(volume.voxels[place]) - float(volume.voxels[like])), place))
        if tried[-1][0] < SIMILAR:
            break
    return min(tried)[1]


def extent(volume: Volume, size_mm: float) -> Triple:
    """Voxels (k, j, i) that a cube of ``size_mm`` takes in this volume, at most the volume itself."""
    k, j, i = (
        int(np.clip(round(size_mm / spacing), 1, size))
        for spacing, size in zip(volume.spacing_mm, volume.shape, strict=True)
    )
    return k, j, i


def around(volume: Volume, centre: Triple, size: Triple) -> tuple[slice, slice, slice]:
    """The slices of a cube of ``size`` voxels round ``centre``, moved inside the volume where it would leave it.

    Raises:
        AttackError: ``centre`` itself lies outside the volume.
    """
    centre = _inside(volume, centre)
    starts = [int(np.clip(c - s // 2, 0, max(n - s, 0))) for c, s, n in zip(centre, size, volume.shape, strict=True)]
    k, j, i = (slice(a, a + min(s, n)) for a, s, n in zip(starts, size, volume.shape, strict=True))
    return k, j, i


def ball(volume: Volume, centre: Triple, radius_mm: float) -> tuple[tuple[slice, slice, slice], FloatArray]:
    """The slices of a ball round ``centre``, cut where it leaves the volume, and the distance there in radii.

    Unlike `around`, nothing is moved: distance 0 is at ``centre``, 1 on the surface.

    Raises:
        AttackError: ``centre`` lies outside the volume.
    """
    centre = _inside(volume, centre)
    reach = [radius_mm / mm for mm in volume.spacing_mm]
    where = tuple(
        slice(max(int(np.ceil(c - r)), 0), min(int(np.floor(c + r)) + 1, n))
        for c, r, n in zip(centre, reach, volume.shape, strict=True)
    )
    axes = [(np.arange(s.start, s.stop) - c) / r for s, c, r in zip(where, centre, reach, strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (where[0], where[1], where[2]), np.sqrt(k**2 + j**2 + i**2).astype(np.float32)


def resize(cube: FloatArray, shape: tuple[int, ...], order: Order) -> FloatArray:
    """Spline interpolation of ``order`` to ``shape``, nearest border, as CT-GAN zooms; equal axes are left."""
    factors = [new / old for new, old in zip(shape, cube.shape, strict=True)]
    if all(factor == 1.0 for factor in factors):
        return cube
    zoomed: FloatArray = ndimage.zoom(cube, factors, order=order, mode="nearest").astype(np.float32)
    return zoomed


def window(kind: str, shape: tuple[int, ...]) -> FloatArray:
    """Blending weights in 0..1 of ``shape`` (k, j, i).

    "gauss" and "dome" are CT-GAN's two windows, 3 and 0.1 sigma wide, in the plane and alike on every slice
    (Mirsky et al. 2019, as released); "tukey" and "ellipsoid" fall off along all axes; "hard" is 1 everywhere.
    """
    if kind == "hard":
        return np.ones(shape, dtype=np.float32)
    if kind in ("gauss", "dome"):
        return np.broadcast_to(_plane_window(shape[1:], 3.0 if kind == "gauss" else 0.1), shape).astype(np.float32)
    axes = np.meshgrid(*[_axis(size) for size in shape], indexing="ij", sparse=True)
    if kind == "tukey":
        falls = [np.clip((1.0 - np.abs(axis)) / 0.4, 0.0, 1.0) for axis in axes]
        product = np.prod(np.broadcast_arrays(*falls), axis=0)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * product), dtype=np.float32)
    if kind == "ellipsoid":
        radius = np.sqrt(sum(axis**2 for axis in axes))
        return np.asarray(1.0 / (1.0 + np.exp((radius - 0.75) / 0.06)), dtype=np.float32)
    raise AttackError(f"unknown blending window {kind!r}", hint=f"one of {', '.join(WINDOWS)}")


def _axis(size: int) -> FloatArray:
    return np.zeros(1, np.float32) if size == 1 else np.linspace(-1.0, 1.0, size, dtype=np.float32)


def _plane_window(shape: tuple[int, ...], sigmas: float) -> FloatArray:
    profiles = [np.diff(stats.norm.cdf(np.linspace(-sigmas, sigmas, size + 1))) for size in shape]
    kernel = np.outer(*profiles)
    span = float(kernel.max() - kernel.min())
    return ((kernel - kernel.min()) / span).astype(np.float32) if span > 0 else np.ones(shape, np.float32)


def sample_grain(volume: Volume, rng: np.random.Generator) -> dict[str, JSON]:
    """Draw how the changed place gets its noise back: kind, strength, seed, and the place to copy it from."""
    return {
        "grain": str(rng.choice(GRAINS)),
        "grain_gain": round(float(rng.uniform(0.5, 1.3)), 3),
        "grain_at": [int(rng.integers(size)) for size in volume.shape],
        "seed": int(rng.integers(2**31)),
    }


def grain(volume: Volume, where: tuple[slice, slice, slice], params: Mapping[str, Any]) -> FloatArray:
    """Noise in HU for the cube ``where``, of the kind that ``params`` (see `sample_grain`) names.

    "white": Gaussian with the residual strength of the place; "soft": the same, smoothed; "copied": CT-GAN's
    default, the air of another place of the same scan, nothing where that place is dense; "residual": the high-pass
    residual of that place, whatever it is; "spectrum": random phases on the power spectrum of its residual (the
    random phase texture of Galerne, Gousseau and Morel, IEEE TIP 20, 2011; the noise power spectrum as a physicist
    would measure it); "gaussian": CT-GAN's other noise, white with a standard deviation of
    ``grain_hu``; "zoomed": the same, drawn on a grid of 1 mm and zoomed like its cubes.
    """
    shape = tuple(s.stop - s.start for s in where)
    kind, gain = params["grain"], float(params["grain_gain"])
    if kind == "none" or gain == 0.0:
        return np.zeros(shape, dtype=np.float32)
    rng = np.random.default_rng(int(params["seed"]))
    if kind == "gaussian":
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(gain * float(params["grain_hu"]))
    if kind == "zoomed":
        grid = tuple(max(round(n * mm), 1) if n > 1 else 1 for n, mm in zip(shape, volume.spacing_mm, strict=True))
        drawn = rng.standard_normal(grid, dtype=np.float32) * np.float32(gain * float(params["grain_hu"]))
        return resize(drawn, shape, params["order"])
    if kind in ("white", "soft"):
        noise = rng.standard_normal(shape).astype(np.float32)
        noise = noise if kind == "white" else ndimage.gaussian_filter(noise, (0.0, 0.8, 0.8))
        return noise * np.float32(gain * _strength(volume.voxels[where]) / max(float(noise.std()), 1e-6))
    k, j, i = (int(x) for x in params["grain_at"])
    source = volume.voxels[around(volume, (k, j, i), (shape[0], shape[1], shape[2]))]
    copied: NDArray[np.floating] = copied_air(source) if kind == "copied" else _high_pass(source)
    if kind == "spectrum":
        spectrum = np.abs(np.fft.fft2(copied, axes=(1, 2)))
        phases = np.fft.fft2(rng.standard_normal(shape), axes=(1, 2))
        copied = np.fft.ifft2(spectrum * phases / np.maximum(np.abs(phases), 1e-9), axes=(1, 2)).real
    return np.asarray(copied, dtype=np.float32) * np.float32(gain)


def blended(
    volume: Volume, where: tuple[slice, slice, slice], piece: FloatArray, params: Mapping[str, Any]
) -> FloatArray:
    """A copy of the voxels with ``piece`` and its grain in the cube ``where``, by the window that ``params`` name."""
    original = volume.voxels[where]
    weight = window(params["window"], original.shape)
    voxels = volume.voxels.copy()
    voxels[where] = weight * (piece + grain(volume, where, params)) + (1.0 - weight) * original
    return voxels


def copied_air(cube: FloatArray) -> FloatArray:
    """CT-GAN's noise cube: values above -800 HU become the mean of those below, then the mean goes to zero.

    A cube without air gives no noise, where the released code would give NaN.
    """
    air = cube < LUNG_AIR_HU
    level = cube[air].mean() if air.any() else np.float32(0.0)
    return np.where(air, cube - level, 0.0).astype(np.float32)


def _high_pass(cube: FloatArray) -> FloatArray:
    return (cube - ndimage.gaussian_filter(cube, (0.0, 1.5, 1.5))).astype(np.float32)


def _strength(cube: FloatArray) -> float:
    """Robust standard deviation of the in-plane high-pass residual (median absolute deviation), in HU."""
    residual = cube - ndimage.uniform_filter(cube, (0, 3, 3))
    return float(1.4826 * np.median(np.abs(residual))) * 1.3
