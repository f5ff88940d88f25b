"""A whole knee radiograph from a small GAN, in place of the picture that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import knees, made_with
from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple
from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError
from tamperscope.records import JSON, Forgery, Volume

GRADES = 5
"""0 to 4, after Kellgren and Lawrence (Ann Rheum Dis 16:494, 1957)."""
LATENT = 64
"""Numbers that make a knee, apart from its grain."""
PACKAGED = Network("knee-gan")


@dataclass(frozen=True, slots=True)
class KneeGan:
    """Draw a knee of a wanted grade from noise (`train.knee_gan`), and bring it to the size and values of the picture.

    The GAN answers what Prezja et al. (Sci Rep 2022) did with a WGAN: whole synthetic knees with a stated severity.
    """

    grade: int | None = None
    """None draws one for each forgery."""
    network: Network = PACKAGED
    modalities: tuple[str, ...] = knees.MODALITIES
    name: str = "knee-gan"
    benign: bool = False

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Seed, grade, truncation, side, interpolation and the network; ``at`` has no meaning for a whole picture.

        Raises:
            AttackError: the picture cannot be a knee radiograph.
        """
        knees.check(volume, self.name)
        return {
            "seed": int(rng.integers(2**31)),
            "grade": int(rng.integers(GRADES)) if self.grade is None else self.grade,
            "truncation": round(float(rng.uniform(0.7, 1.0)), 3),
            "mirror": bool(rng.integers(2)),
            "interpolation": str(rng.choice(sorted(knees.INTERPOLATIONS))),
            **made_with.record(self.network),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        ``truncation`` scales the noise (Brock et al., BigGAN, ICLR 2019): less of it, more like the average knee.

        Raises:
            AttackError: the picture cannot be a knee radiograph, an unknown grade, or a record of other weights.
            WeightsError: the network or its Card is missing or damaged.
        """
        knees.check(volume, self.name)
        made_with.check(self.network, params)
        if params["grade"] not in range(GRADES):
            raise AttackError(f"unknown grade {params['grade']!r}", hint=f"a whole number from 0 to {GRADES - 1}")
        rng = np.random.default_rng(int(params["seed"]))
        noise = rng.standard_normal((1, LATENT), dtype=np.float32) * np.float32(params["truncation"])
        grain = rng.standard_normal((1, 1, knees.SIDE, knees.SIDE), dtype=np.float32)
        picture = self.network.run(noise=noise, grain=grain, grades=np.array([params["grade"]]))[0, 0]
        voxels = knees.fitted(picture, volume, params["interpolation"], mirror=bool(params["mirror"]))
        return finish(volume, voxels, self.name, params, benign=self.benign)
