"""Short series round a simulated forgery, beside their untouched twins: what calibrates and what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tamperscope import anatomy, attacks
from tamperscope.records import Volume

FAMILIAR = (
    "ct-gan-blend-inject",
    "ct-gan-blend-remove",
    "resample-paste",
    "blur-regrain",
    "inpaint",
    "copy-move",
    "nodule",
    "splice",
)
"""The attacks that the first weights were trained on, and are calibrated and measured with."""
AROUND = 8
"""Slices on each side that are kept with the forged place."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A forged stretch of a series and the same stretch untouched."""

    attack: str
    patient: str
    forged: Volume
    twin: Volume


def simulate(
    volumes: Sequence[tuple[str, Volume]], names: Sequence[str], count: int, rng: np.random.Generator
) -> Iterator[Simulated]:
    """``count`` forgeries of each named local attack, in the lungs of (patient, volume) pairs in Hounsfield units.

    Patients are drawn alike, however many volumes each has; a splice takes its piece from another patient. Volumes
    without lung are left out.
    """
    places = [np.flatnonzero(anatomy.lungs(volume.voxels)) for _, volume in volumes]
    usable = [n for n, found in enumerate(places) if found.size]
    patients = sorted({volumes[n][0] for n in usable})
    for name in names:
        for _ in range(count):
            patient = str(rng.choice(patients))
            n = int(rng.choice([n for n in usable if volumes[n][0] == patient]))
            volume = volumes[n][1]
            k, row, column = (int(x) for x in np.unravel_index(int(rng.choice(places[n])), volume.shape))
            first = max(k - AROUND, 0)
            twin = volume.slab(first, k + AROUND + 1)
            attack = attacks.local(tuple(other for who, other in volumes if who != patient))[name]
            forged = attack.apply(twin, attack.sample(twin, rng, at=(k - first, row, column))).volume
            yield Simulated(name, patient, forged, twin)
