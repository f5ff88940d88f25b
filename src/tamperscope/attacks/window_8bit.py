"""Benign: the picture as a screen shows it, windowed to 8 bit, and back to the values of the scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.records import JSON, Forgery, Volume

WINDOWS_HU = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0), "wide": (0.0, 2000.0)}
"""Centre and width of the windows that chest CT is read in."""


@dataclass(frozen=True, slots=True)
class Window8bit:
    """Clip to a window and quantise to 256 grey levels, as an export to PNG or a screenshot does."""

    name: str = "window-8bit"
    benign: bool = True

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Ends of the window in the volume's unit; ``at`` has no meaning for a whole picture.

        CT gets one of `WINDOWS_HU`, moved and stretched a little; other pictures most of the range that they use.
        """
        if volume.modality == "CT":
            centre, width = WINDOWS_HU[str(rng.choice(list(WINDOWS_HU)))]
            centre, width = centre + rng.uniform(-0.05, 0.05) * width, width * rng.uniform(0.9, 1.2)
        else:
            low, high = (
                float(x) for x in np.percentile(volume.voxels, (rng.uniform(0.0, 2.0), rng.uniform(98.0, 100.0)))
            )
            centre, width = (low + high) / 2, max(high - low, 1.0)
        return {"low": round(float(centre - width / 2), 1), "high": round(float(centre + width / 2), 1)}

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`."""
        low, high = np.float32(params["low"]), np.float32(params["high"])
        grey = np.rint(np.clip((volume.voxels - low) / (high - low), 0.0, 1.0) * np.float32(255.0))
        return finish(volume, grey / np.float32(255.0) * (high - low) + low, self.name, params, benign=True)
