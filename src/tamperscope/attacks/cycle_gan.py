"""CycleGAN-type translation of a place in the lung, healthy to nodule or back, inside a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tamperscope.attacks import cubes, lung_grid, made_with, scale
from tamperscope.attacks.attack import finish
from tamperscope.attacks.network import Network
from tamperscope.records import JSON, FloatArray, Forgery, Volume

NODULE_MM = (5.0, 16.0)
"""Smallest and largest nodule that the generators were trained with."""
EDGE_MM = 1.0
"""Softness of the mask's edge."""
PACKAGED: Mapping[str, Network] = {mode: Network(f"cycle-gan-{mode}") for mode in ("inject", "remove")}


@dataclass(frozen=True, slots=True)
class CycleGan:
    """Inject or remove with one of the two generators of a cycle (Zhu et al., CycleGAN, ICCV 2017).

    A generator sees the cube and the mask, and only the mask takes its answer: masked output = (1 - m) x + m G(x), as
    M3Dsynth restricts its CycleGAN (Zingarini et al., ICASSP 2024). Nothing is random but the grain.
    """

    mode: Literal["inject", "remove"]
    network: Network | None = None
    """None takes the packaged generator of the mode."""
    modalities: tuple[str, ...] = ("CT",)
    box_mm: float = lung_grid.BOX_MM
    benign: bool = False

    @property
    def name(self) -> str:
        """The attack with its mode."""
        return f"cycle-gan-{self.mode}"

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Centre (k, j, i), nodule in mm and its stretch, spline order, paste, window, grain, and the network."""
        return {
            "centre": list(cubes.choose_for(self.mode, volume, rng, at)),
            **made_with.record(self._generator),
            "diameter_mm": round(float(rng.uniform(*NODULE_MM)), 2),
            "stretch": [round(float(x), 3) for x in rng.uniform(0.85, 1.15, 3)],
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
        made_with.check(self._generator, params)
        order = params["order"]
        where, seen = lung_grid.see(volume, tuple(params["centre"]), order)
        inside = mask(float(params["diameter_mm"]), params["stretch"])
        window = scale.span(volume, lung_grid.WINDOW_HU)
        answer = self._generator.run(cube=scale.squeeze(seen, window)[None], mask=inside[None])[0]
        drawn = (1.0 - inside) * seen + inside * scale.stretch(answer, window)
        piece = lung_grid.bring_back(volume, where, seen, drawn, params["paste"], order)
        return finish(volume, cubes.blended(volume, where, piece, params), self.name, params, benign=self.benign)

    @property
    def _generator(self) -> Network:
        return self.network or PACKAGED[self.mode]


def mask(diameter_mm: float, stretch: Sequence[float]) -> FloatArray:
    """Weights 0..1 on the grid (16, 32, 32): what may change for a nodule of ``diameter_mm``.

    Half as wide again and 2 mm more, each axis times its ``stretch``, with a soft edge.
    """
    axes = lung_grid.distance_mm()
    distance = np.sqrt(sum((axis / np.float32(factor)) ** 2 for axis, factor in zip(axes, stretch, strict=True)))
    radius = 0.75 * diameter_mm + 2.0
    weights = 1.0 / (1.0 + np.exp(np.clip((distance - radius) / (EDGE_MM / 2), -30.0, 30.0)))
    return np.asarray(weights, dtype=np.float32)
