"""A whole knee radiograph from a small diffusion model, in place of the picture that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tamperscope.attacks import knees, made_with
from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError
from tamperscope.records import JSON, FloatArray, Forgery, Volume

GRADES = 5
"""0 to 4, after Kellgren and Lawrence (Ann Rheum Dis 16:494, 1957); the denoiser takes 5 for "not told"."""
COARSE = 56
"""Side of the pictures that are denoised."""
STEPS = (20, 30, 50)
MOST_STEPS = 50
PACKAGED = Network("knee-diffusion")
PACKAGED_DECODER = Network("knee-diffusion-decoder")


@dataclass(frozen=True, slots=True)
class KneeDiffusion:
    """Denoise a coarse knee of a wanted grade out of noise, let a decoder paint its 224 pixels, and make it fit.

    Deterministic sampling (Song et al., Denoising Diffusion Implicit Models, ICLR 2021) in the time of Salimans and
    Ho (ICLR 2022), with classifier-free guidance (Ho and Salimans, 2022): all chance is in the first noise.
    """

    grade: int | None = None
    """None draws one for each forgery."""
    network: Network = PACKAGED
    decoder: Network = PACKAGED_DECODER
    modalities: tuple[str, ...] = knees.MODALITIES
    name: str = "knee-diffusion"
    benign: bool = False

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Seed, grade, guidance, steps, side, interpolation and networks; ``at`` has no meaning for a whole picture.

        Raises:
            AttackError: the picture cannot be a knee radiograph.
        """
        knees.check(volume, self.name)
        return {
            "seed": int(rng.integers(2**31)),
            "grade": int(rng.integers(GRADES)) if self.grade is None else self.grade,
            "guidance": round(float(rng.uniform(1.0, 2.0)), 3),
            "ddim_steps": int(rng.choice(STEPS)),
            "mirror": bool(rng.integers(2)),
            "interpolation": str(rng.choice(sorted(knees.INTERPOLATIONS))),
            **made_with.record(self.network),
            "decoder": made_with.record(self.decoder)["network"],
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: the picture cannot be a knee radiograph, an unknown grade, more than 50 steps or none, or a
                record of other weights.
            WeightsError: a network or its Card is missing or damaged.
        """
        knees.check(volume, self.name)
        made_with.check(self.network, params)
        made_with.check(self.decoder, {"network": params["decoder"]})
        if params["grade"] not in range(GRADES):
            raise AttackError(f"unknown grade {params['grade']!r}", hint=f"a whole number from 0 to {GRADES - 1}")
        if not 1 <= params["ddim_steps"] <= MOST_STEPS:
            raise AttackError(f"{params['ddim_steps']} steps of denoising", hint=f"from 1 to {MOST_STEPS}")
        rng = np.random.default_rng(int(params["seed"]))
        noise = rng.standard_normal((1, 1, COARSE, COARSE), dtype=np.float32)
        grain = rng.standard_normal((1, 1, knees.SIDE, knees.SIDE), dtype=np.float32)
        coarse = self._denoised(noise, int(params["grade"]), int(params["ddim_steps"]), np.float32(params["guidance"]))
        picture = self.decoder.run(coarse=coarse, grain=grain)[0, 0]
        voxels = knees.fitted(picture, volume, params["interpolation"], mirror=bool(params["mirror"]))
        return finish(volume, voxels, self.name, params, benign=self.benign)

    def _denoised(self, noisy: FloatArray, grade: int, steps: int, guidance: np.float32) -> FloatArray:
        """(1, 1, 56, 56) of noise to a coarse picture in -1..1."""
        times = np.linspace(1.0, 0.0, steps + 1, dtype=np.float32)
        clean = noisy
        for now, later in pairwise(times):
            clean = self._estimate(noisy, now, grade)
            if guidance != 1.0:
                untold = self._estimate(noisy, now, GRADES)
                clean = untold + guidance * (clean - untold)
            clean = np.clip(clean, np.float32(-1.0), np.float32(1.0))
            noise = (noisy - _signal(now) * clean) / _noise(now)
            noisy = np.asarray(_signal(later) * clean + _noise(later) * noise, dtype=np.float32)
        return clean

    def _estimate(self, noisy: FloatArray, time: np.float32, grade: int) -> FloatArray:
        return self.network.run(noisy=noisy, times=np.array([time], dtype=np.float32), grades=np.array([grade]))


def _signal(time: np.float32) -> np.float32:
    return np.float32(np.cos(np.pi / 2 * float(time)))


def _noise(time: np.float32) -> np.float32:
    return np.float32(np.sin(np.pi / 2 * float(time)))
