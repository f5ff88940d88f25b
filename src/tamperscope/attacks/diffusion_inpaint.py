"""Diffusion inpainting: a small denoising network fills a hole in the lung, with a nodule or without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope.attacks import cubes, lung_grid, made_with, scale
from tamperscope.attacks.attack import finish
from tamperscope.attacks.network import Network
from tamperscope.records import JSON, FloatArray, Forgery, MaskArray, Volume

TRAINED_STEPS = 1000
HOLES = ("box", "ellipsoid")
HOLE_MM = (14.0, 22.0)
"""Smallest and largest hole that the network was trained to fill."""
NODULE_MM = (5.0, 16.0)
"""Smallest and largest nodule that the network was trained to grow."""
MARGIN_MM = 6.0
"""Least room of a hole beside the nodule in it."""
PACKAGED = Network("diffusion-inpaint")

Denoiser: TypeAlias = Callable[[FloatArray, float], FloatArray]
"""A noisy cube in -1..1, and its place among the noising steps as a share of them, to the velocity."""


@dataclass(frozen=True, slots=True)
class DiffusionInpaint:
    """Inject or remove by a denoising diffusion model on a masked cube (Ho, Jain and Abbeel, NeurIPS 2020).

    The network sees the noisy cube, the cube with its hole, the hole, the noise level, and the diameter of the nodule
    to grow (0 for none). The cube is sampled from noise in few steps (`sample`), brought to the scan's grid and
    blended in.
    """

    mode: Literal["inject", "remove"]
    network: Network = PACKAGED
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = lung_grid.BOX_MM
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"diffusion-inpaint-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), nodule and hole in mm, sampler, spline order, paste, window, grain, and the network."""
        diameter = round(float(rng.uniform(*NODULE_MM)), 2) if self.mode == "inject" else 0.0
        least = max(HOLE_MM[0], min(diameter + MARGIN_MM, HOLE_MM[1]))
        return {
            "centre": list(cubes.choose_for(self.mode, volume, rng, at)),
            **made_with.record(self.network),
            "diameter_mm": diameter,
            "hole": str(rng.choice(HOLES)),
            "hole_mm": round(float(rng.uniform(least, HOLE_MM[1])), 2),
            "ddim_steps": int(rng.integers(10, 51)),
            "eta": round(float(rng.choice([0.0, rng.uniform(0.0, 1.0)])), 3),
            "keep_context": bool(rng.random() < 0.75),
            "order": int(rng.choice([1, 3])),
            "paste": str(rng.choice(lung_grid.PASTES)),
            "window": str(rng.choice(["hard", "tukey", "ellipsoid", "dome"])),
            **cubes.sample_grain(volume, rng),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: a place outside the volume, or a record made with other weights.
            WeightsError: the network or its Card is missing or damaged.
        """
        made_with.check(self.network, params)
        order = params["order"]
        where, seen = lung_grid.see(volume, tuple(params["centre"]), order)
        gap = hole(params["hole"], float(params["hole_mm"]))
        window = scale.span(volume, lung_grid.WINDOW_HU)
        drawn = scale.stretch(self._fill(scale.squeeze(seen, window), gap, params), window)
        # Beyond the window the network knows nothing: bone beside the hole stays bone.
        kept = ~gap if params["keep_context"] else ~gap & (seen > window[1])
        piece = lung_grid.bring_back(volume, where, seen, np.where(kept, seen, drawn), params["paste"], order)
        return finish(volume, cubes.blended(volume, where, piece, params), self.name, params, benign=self.benign)

    def _fill(self, known: FloatArray, gap: MaskArray, params: Mapping[str, Any]) -> FloatArray:
        fixed = {
            "known": np.where(gap, 0.0, known)[None].astype(np.float32),
            "hole": gap[None].astype(np.float32),
            "nodule": np.array([float(params["diameter_mm"]) / 10.0], dtype=np.float32),
        }

        def denoise(noisy: FloatArray, t: float) -> FloatArray:
            answer = self.network.run(noisy=noisy[None], t=np.array([t], dtype=np.float32), **fixed)
            return np.asarray(answer[0])

        rng = np.random.default_rng([int(params["seed"]), 1])
        context = (known, gap) if params["keep_context"] else None
        return sample(denoise, rng, known.shape, int(params["ddim_steps"]), float(params["eta"]), context)


def hole(kind: str, size_mm: float) -> MaskArray:
    """True inside a box or an ellipsoid of ``size_mm`` in the middle of the grid (16, 32, 32)."""
    axes = lung_grid.distance_mm()
    if kind == "box":
        k, j, i = (np.abs(axis) <= size_mm / 2 for axis in axes)
        return np.asarray(k & j & i)
    return np.asarray(sum(axis**2 for axis in axes) <= (size_mm / 2) ** 2)


def signal_shares(steps: int = TRAINED_STEPS) -> NDArray[np.float64]:
    """Share of the signal's variance that is left after each of ``steps`` noising steps, falling from 1 to 0.

    The cosine schedule: Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021, equation 17.
    """
    at = (np.arange(steps + 1) / steps + 0.008) / 1.008
    curve = np.cos(at * math.pi / 2) ** 2
    shares: NDArray[np.float64] = np.clip(curve[1:] / curve[0], 1e-5, 1.0)
    return shares


def sample(
    denoise: Denoiser,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    steps: int,
    eta: float,
    context: tuple[FloatArray, MaskArray] | None,
) -> FloatArray:
    """From noise to a cube in -1..1, in ``steps`` of the 1000 steps that the network was trained on.

    Song, Meng and Ermon, Denoising Diffusion Implicit Models, ICLR 2021, equation 12, with the spread of equation 16
    times ``eta``: 0 adds no noise on the way, 1 as much as the model of Ho et al. does. The network gives the velocity
    v = a noise - s signal (Salimans and Ho, Progressive Distillation, ICLR 2022, section 4), with a and s the square
    roots of the shares of signal and of noise. A ``context`` (cube, hole) is put back round the hole at every step, as
    noisy as the rest (Lugmayr et al., RePaint, CVPR 2022, equation 8).
    """
    shares = signal_shares()
    places = np.linspace(TRAINED_STEPS - 1, 0, steps).round().astype(int)
    cube = rng.standard_normal(shape, dtype=np.float32)
    clean = cube
    for now, after in pairwise([*places, None]):
        share = float(shares[now])
        following = 1.0 if after is None else float(shares[after])
        a, s = np.float32(math.sqrt(share)), np.float32(math.sqrt(1.0 - share))
        if context is not None:
            known, gap = context
            cube = np.where(gap, cube, a * known + s * rng.standard_normal(shape, dtype=np.float32))
        clean = np.clip(a * cube - s * denoise(cube, now / TRAINED_STEPS), -1.0, 1.0).astype(np.float32)
        noise = (cube - a * clean) / s
        spread = eta * math.sqrt((1.0 - following) / (1.0 - share) * max(1.0 - share / following, 0.0))
        left = math.sqrt(max(1.0 - following - spread**2, 0.0))
        fresh = rng.standard_normal(shape, dtype=np.float32) if spread > 0.0 else np.zeros_like(cube)
        cube = (math.sqrt(following) * clean + left * noise + spread * fresh).astype(np.float32)
    return clean
