"""Benign: more noise over the whole picture, as a lower dose gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class AddNoise:
    """Gaussian noise, white or smoothed, everywhere alike."""

    name: str = "add-noise"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Strength in stored units, smoothing in pixels and seed; ``at`` has no meaning for a whole picture."""
        return {
            "strength": round(float(rng.uniform(3.0, 40.0)), 2),
            "sigma": round(float(rng.choice([0.0, rng.uniform(0.3, 1.0)])), 3),
            "seed": int(rng.integers(2**31)),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        noise = np.random.default_rng(int(params["seed"])).standard_normal(volume.voxels.shape, dtype=np.float32)
        if params["sigma"]:
            noise = ndimage.gaussian_filter(noise, (0.0, params["sigma"], params["sigma"]))
            noise /= max(float(noise.std()), 1e-6)
        noisy = volume.voxels + np.float32(params["strength"]) * noise
        return finish(volume, noisy, self.name, params, benign=True)
