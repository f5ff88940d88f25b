"""What an attack is, and how a manipulated array becomes a `Forgery` with its exact truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from tamperscope.records import JSON, FloatArray, Forgery, Volume, voxel_digest


class Attack(Protocol):
    """Makes a forgery, or, if its mask stays empty, a benign change.

    `sample` draws every choice, also the seed of any noise, into a JSON record; `apply` then does nothing that the
    record does not say, so ``apply(volume, record)`` replays bit for bit.

    An attack that cannot work everywhere may also have ``modalities`` (a tuple; empty: any) and ``box_mm`` (the
    smallest side in the slice plane that it needs; 0: it does not work in millimetres). `cubes.require` reads them
    before a user's volume is forged; `apply` itself does what it can in any volume.
    """

    @property
    def name(self) -> str:
        """What records and tables call it."""
        ...

    @property
    def benign(self) -> bool:
        """Benign changes touch the whole picture and leave the mask empty: a detector must not react to them."""
        ...

    def sample(
        self, volume: Volume, rng: np.random.Generator, at: tuple[int, int, int] | None = None
    ) -> dict[str, JSON]:
        """Draw the parameters of one forgery of ``volume``, at the voxel ``at`` (k, j, i) or a place of its own.

        Raises:
            AttackError: the volume offers no place for it.
        """
        ...

    def apply(self, volume: Volume, params: Mapping[str, JSON]) -> Forgery:
        """Make the forgery that ``params`` describe.

        Raises:
            AttackError: the parameters do not fit the volume.
        """
        ...


def finish(volume: Volume, voxels: FloatArray, name: str, params: Mapping[str, JSON], *, benign: bool) -> Forgery:
    """Voxels (D, H, W) as an attack left them to a Forgery: values as a file would store them, and what changed.

    Where the original holds whole numbers, as CT does, new values are rounded to whole numbers, and all are kept in
    the range that the file can hold. The mask is computed afterwards: |forged - original| > 0.
    """
    ceiling = 3071.0 if volume.modality == "CT" else 2.0**volume.bits_stored - 1.0
    lowest, highest = float(volume.voxels.min()), max(float(volume.voxels.max()), ceiling)
    probe = volume.voxels[:, ::8, ::8]
    whole = bool(np.all(probe == np.rint(probe)))
    written = np.clip(np.rint(voxels) if whole else voxels, lowest, highest)
    stored = np.where(voxels == volume.voxels, volume.voxels, written).astype(np.float32)
    mask = np.zeros(stored.shape, dtype=bool) if benign else stored != volume.voxels
    record: dict[str, JSON] = {"attack": name, "input": volume.digest, "params": dict(params)}
    return Forgery(replace(volume, voxels=stored, digest=voxel_digest(stored)), mask, record)
