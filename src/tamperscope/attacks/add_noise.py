"""Benign: more noise over the whole picture, as a lower dose gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, FloatArray, Forgery, Volume


@dataclass(frozen=True, slots=True)
class AddNoise:
    """Gaussian noise everywhere alike: white, smoothed, or with the spectrum that a reconstruction gives it.

    The noise of filtered back-projection has the power |f| times the square of the kernel's roll-off, stronger across
    the direction in which the patient is thick, which shows as streaks (Riederer, Pelc and Chesler, Physics in
    Medicine and Biology 23, 1978; Kijewski and Judy, the same 32, 1987).
    """

    name: str = "add-noise"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Strength in stored units, smoothing in pixels, roll-off in cycles a pixel (0: no ramp), streaks and seed.

        ``at`` has no meaning for a whole picture.
        """
        return {
            "strength": round(float(rng.uniform(3.0, 40.0)), 2),
            "sigma": round(float(rng.choice([0.0, rng.uniform(0.3, 1.0)])), 3),
            "roll_off": round(float(rng.choice([0.0, rng.uniform(0.12, 0.4)], p=[0.3, 0.7])), 3),
            "streaks": round(float(rng.choice([0.0, rng.uniform(0.0, 12.0)])), 2),
            "degrees": round(float(rng.normal(0.0, 15.0)), 1),
            "seed": int(rng.integers(2**31)),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        noise = np.random.default_rng(int(params["seed"])).standard_normal(volume.voxels.shape, dtype=np.float32)
        if params["roll_off"]:
            noise = _reconstructed(noise, params)
        elif params["sigma"]:
            noise = ndimage.gaussian_filter(noise, (0.0, params["sigma"], params["sigma"]))
            noise /= max(float(noise.std()), 1e-6)
        noisy = volume.voxels + np.float32(params["strength"]) * noise
        return finish(volume, noisy, self.name, params, benign=True)


def _reconstructed(white: FloatArray, params: Mapping[str, Any]) -> FloatArray:
    """White noise (D, H, W) with the power |f| exp(-(f / roll_off)^2) (1 + streaks cos^2) of each slice; spread 1."""
    down, across = np.fft.fftfreq(white.shape[1])[:, None], np.fft.rfftfreq(white.shape[2])[None, :]
    angle = np.arctan2(across, down) - np.deg2rad(float(params["degrees"]))
    frequency = np.hypot(down, across)
    power = frequency * np.exp(-((frequency / float(params["roll_off"])) ** 2))
    power = power * (1.0 + float(params["streaks"]) * np.cos(angle) ** 2)
    shaped = np.fft.irfft2(np.fft.rfft2(white, axes=(1, 2)) * np.sqrt(power), s=white.shape[1:], axes=(1, 2))
    return (shaped / max(float(shaped.std()), 1e-6)).astype(np.float32)
