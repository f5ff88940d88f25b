"""Several attacks one after the other, as one: counter-forensics after any forgery, or two forgeries at one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import Attack
from tamperscope.errors import AttackError
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Chain:
    """Runs its steps in order. What its benign steps do to the whole picture is no part of the forgery.

    The truth is therefore told against the twin: the volume after the benign steps alone, on the same grid. The mask
    is where the forgery and its twin differ, so a chain of benign steps is benign.
    """

    steps: tuple[Attack, ...]

    @property
    def name(self) -> str:
        """The names of the steps, joined by +."""
        return "+".join(step.name for step in self.steps)

    @property
    def benign(self) -> bool:
        """Whether all steps are."""
        return all(step.benign for step in self.steps)

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """The steps with their parameters, each drawn in the volume as the steps before left it.

        All steps get the same place of the patient, ``at`` or the one that the first attack among them would choose:
        where a step moves the grid, its index moves too.

        Raises:
            AttackError: a step finds no place, or the place was cut away.
        """
        place = at if self.benign or at is not None else self._place(volume, rng)
        drawn: list[JSON] = []
        for step in self.steps:
            params = step.sample(volume, rng, place)
            left = step.apply(volume, params).volume
            place = place and _moved(place, volume, left)
            volume = left
            drawn.append({"attack": step.name, "params": params})
        return {"steps": drawn}

    def _place(self, volume: Volume, rng: np.random.Generator) -> cubes.Triple:
        """Where the first step that is no benign change would forge; any place, if it forges no single one."""
        first = next(step for step in self.steps if not step.benign)
        centre = first.sample(volume, rng).get("centre")
        return cubes.choose_place(volume, rng, None) if not isinstance(centre, list) else cubes.index(centre)

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: the record is of another chain.
        """
        forged = volume
        for step, drawn in self._drawn(params):
            forged = step.apply(forged, drawn).volume
        twin = forged if self.benign else self.twin(volume, params)
        mask = forged.voxels != twin.voxels
        return Forgery(forged, mask, {"attack": self.name, "input": volume.digest, "params": dict(params)})

    def twin(self, volume: Volume, params: Mapping[str, Any]) -> Volume:
        """The volume after the benign steps only: what the forgery is to be compared with.

        Raises:
            AttackError: the record is of another chain.
        """
        for step, drawn in self._drawn(params):
            if step.benign:
                volume = step.apply(volume, drawn).volume
        return volume

    def _drawn(self, params: Mapping[str, Any]) -> Iterator[tuple[Attack, Mapping[str, Any]]]:
        names = [drawn["attack"] for drawn in params["steps"]]
        if names != [step.name for step in self.steps]:
            raise AttackError(f"the record is of {'+'.join(names)}, not of {self.name}", hint="chain the same attacks")
        return ((step, drawn["params"]) for step, drawn in zip(self.steps, params["steps"], strict=True))


def _moved(place: cubes.Triple, before: Volume, after: Volume) -> cubes.Triple:
    """The index (k, j, i) in ``after`` of the place of the patient that ``place`` is in ``before``."""
    if np.array_equal(before.affine, after.affine):
        return place
    k, j, i, _ = np.rint(np.linalg.solve(after.affine, [*before.position_mm(place), 1.0])).astype(int)
    return int(k), int(j), int(i)
