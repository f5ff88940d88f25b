"""Splice: a piece of another patient's scan, brought to this scan's spacing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamperscope.attacks import cubes
from tamperscope.attacks.attack import finish
from tamperscope.errors import AttackError
from tamperscope.records import JSON, Forgery, Volume


@dataclass(frozen=True, slots=True)
class Splice:
    """Cut a cube of the same millimetres from a donor, resample it, match its level to the place, blend it in."""

    donors: tuple[Volume, ...] = ()
    name: str = "splice"
    benign: bool = False
    box_mm: float = 14.0

    def sample(self, volume: Volume, rng: np.random.Generator, at: cubes.Triple | None = None) -> dict[str, JSON]:
        """Donor digest, centre here and source there (k, j, i), size in mm, order, window and grain.

        Raises:
            AttackError: no donor was given, or each is the same study or another modality.
        """
        if not self.donors:
            raise AttackError("splice has no donor", hint="construct it with the volumes of other patients")
        refusals = [_refusal(donor, volume) for donor in self.donors]
        suited = [donor for donor, refusal in zip(self.donors, refusals, strict=True) if refusal is None]
        if not suited:
            raise next(refusal for refusal in refusals if refusal is not None)
        donor = suited[int(rng.integers(len(suited)))]
        return {
            "centre": list(cubes.choose_place(volume, rng, at)),
            "donor": donor.digest,
            "source": list(cubes.choose_place(donor, rng, None)),
            "size_mm": round(float(rng.uniform(14.0, 40.0)), 2),
            "order": int(rng.choice([1, 2, 3, 5])),
            "window": str(rng.choice(["gauss", "dome", "tukey", "ellipsoid"])),
            "match_level": bool(rng.integers(2)),
            **cubes.sample_grain(volume, rng),
            "grain_gain": round(float(rng.choice([0.0, rng.uniform(0.1, 0.6)])), 3),
        }

    def apply(self, volume: Volume, params: Mapping[str, Any]) -> Forgery:
        """See `attack.Attack.apply`.

        Raises:
            AttackError: the donor of the record is not among those that this attack holds.
        """
        donor = next((one for one in self.donors if one.digest == params["donor"]), None)
        if donor is None:
            raise AttackError(f"unknown donor {params['donor']}", hint="construct the attack with that volume")
        where = cubes.around(volume, tuple(params["centre"]), cubes.extent(volume, params["size_mm"]))
        original = volume.voxels[where]
        size = cubes.extent(donor, params["size_mm"])
        foreign = donor.voxels[cubes.around(donor, tuple(params["source"]), size)]
        piece = cubes.resize(foreign, original.shape, params["order"])
        if params["match_level"]:
            piece = piece + np.float32(np.median(original) - np.median(piece))
        voxels = cubes.blended(volume, where, piece, params)
        return finish(volume, voxels, self.name, params, benign=self.benign)


def _refusal(donor: Volume, volume: Volume) -> AttackError | None:
    """Why a donor is no other patient's scan of the same kind; None if it is."""
    if donor.digest == volume.digest or (donor.study_uid and donor.study_uid == volume.study_uid):
        return AttackError("the donor is the study that is forged", hint="give a study of another patient")
    if donor.modality != volume.modality:
        return AttackError(
            f"the donor is {donor.modality}, the volume {volume.modality}", hint="give a donor of the same modality"
        )
    if (donor.geometry == "none") != (volume.geometry == "none"):
        return AttackError("only one of donor and volume states its spacing", hint="state that of the other too")
    return None
