"""Jekyll-type translation of a knee radiograph: healthy to diseased or back, in the same patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tamperscope.attacks import knees, made_with
from tamperscope.attacks.attack import finish
from tamperscope.attacks.cubes import Triple, around, choose_place
from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError
from tamperscope.records import JSON, Forgery, Volume

TARGETS = ("healthy", "diseased")
"""What the network takes for 0 and 1: grades 0 and 1, and grades 3 and 4, of Kellgren and Lawrence."""
LEAST_CHANGE = 2.0 / 255.0
"""Of the way from black to white: two grey levels of eight bits. Pixels that would change by less keep their value, so
that the mask shows what was really altered: no network gives exact zeros, and interpolation rings."""
PACKAGED = Network("jekyll")


@dataclass(frozen=True, slots=True)
class Jekyll:
    """Add to the joint what a small image-to-image network thinks the other class would show there.

    Mangaokar et al., Jekyll: Attacking Medical Image Diagnostics using Deep Generative Models, EuroS&P 2020. The
    network sees a square of the picture at 224 pixels; only its change is brought back to the picture's own pixels,
    so all detail that identifies the patient stays (`train.jekyll` says how it learned to change little).
    """

    target: Literal["healthy", "diseased"] | None = None
    """None draws one for each forgery; the class of the picture as it is is not known."""
    network: Network = PACKAGED
    modalities: tuple[str, ...] = knees.MODALITIES
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack, with its target where that is fixed."""
        return "jekyll" if self.target is None else f"jekyll-{self.target}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: Triple | None = None) -> dict[str, JSON]:
        """Target, centre (k, j, i) and side of the square in pixels, gain, interpolation and the network.

        The square has the shorter side of the picture. Its centre is as near to ``at`` as the picture lets it lie, and
        that is the place that the record states.

        Raises:
            AttackError: the picture cannot be a knee radiograph, or ``at`` lies outside of it.
        """
        knees.check(volume, self.name)
        _, height, width = volume.shape
        side = min(height, width)
        wanted = (0, height // 2, width // 2) if at is None else choose_place(volume, rng, at)
        _, rows, columns = around(volume, wanted, (1, side, side))
        return {
            "target": self.target or str(rng.choice(TARGETS)),
            "centre": [0, rows.start + side // 2, columns.start + side // 2],
            "side": side,
            "gain": round(float(rng.uniform(0.8, 1.2)), 3),
            "interpolation": str(rng.choice(sorted(knees.INTERPOLATIONS))),
            **made_with.record(self.network),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: the picture cannot be a knee radiograph, a place outside of it, an unknown target, or a record
                of other weights.
            WeightsError: the network or its Card is missing or damaged.
        """
        knees.check(volume, self.name)
        made_with.check(self.network, params)
        if params["target"] not in TARGETS:
            raise AttackError(f"unknown target {params['target']!r}", hint=f"one of {', '.join(TARGETS)}")
        side, interpolation = int(params["side"]), str(params["interpolation"])
        where = around(volume, tuple(params["centre"]), (1, side, side))
        original = volume.voxels[where]
        black, white = knees.levels(volume)
        half = np.float32(0.5 * (white - black))
        seen = knees.resized((original[0] - np.float32(black)) / half - 1.0, (knees.SIDE, knees.SIDE), interpolation)
        wanted = np.array([TARGETS.index(params["target"])])
        change = self.network.run(pictures=np.clip(seen, -1.0, 1.0)[None, None], classes=wanted)[0, 0]
        added = np.float32(params["gain"]) * half * knees.resized(change, original.shape[1:], interpolation)
        added[np.abs(added) < LEAST_CHANGE * abs(white - black)] = 0.0
        voxels = volume.voxels.copy()
        voxels[where] = original + added
        return finish(volume, voxels, self.name, params, benign=self.benign)
