"""Pairs of crops kept on disk: drawn once, seen many times, each time turned and mirrored anew.

Forging a pair takes as long as a small network learns from it. With a bank, the forging is paid once for all runs, and
a run chooses which attacks it learns from without drawing again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tamperscope.errors import TrainingError
from tamperscope.records import FloatArray
from tamperscope.train.crops import Crops, Pair, Recipe

SHARD = 256
"""Pairs a file."""


def fill(
    crops: Crops, folder: Path, pairs: int, workers: int = 2, tick: Callable[[int, int], None] = lambda _, __: None
) -> None:
    """Draw pairs into ``folder`` until it holds ``pairs``, rounded up to whole files; goes on where it was broken off.

    ``tick`` is called after each file with (pairs there, pairs wanted).
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = len(list(folder.glob("*.safetensors")))
    wanted = -(-pairs // SHARD)
    first_seed = crops.seed
    while there < wanted:
        crops.seed = first_seed + there
        drawn = list(islice(DataLoader(crops, batch_size=None, num_workers=workers), SHARD))
        tensors: dict[str, NDArray[np.generic]] = {
            "forged": np.stack([one.forged for one in drawn]).astype(np.float16),
            "pristine": np.stack([one.pristine for one in drawn]).astype(np.float16),
            "target": np.stack([one.target for one in drawn]).astype(np.int8),
        }
        part = folder / f"{there:05d}.part"
        names = {"attacks": [one.attack for one in drawn], "patients": [one.patient for one in drawn]}
        save_file(tensors, part, {key: json.dumps(value) for key, value in names.items()})
        part.replace(part.with_suffix(".safetensors"))
        there += 1
        tick(there * SHARD, wanted * SHARD)
    crops.seed = first_seed


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    forged: NDArray[np.float16]
    pristine: NDArray[np.float16]
    target: NDArray[np.int8]
    patients: list[str]


class Bank(IterableDataset[Pair]):
    """An endless stream of the `Pair` of a folder that `fill` wrote, in memory. ``shares`` say how often which attack.

    An attack that the shares do not name is left out. Each worker draws from a generator of its own.

    Raises:
        TrainingError: the folder holds no pair of an attack that the shares name.
    """

    def __init__(self, folder: Path, recipe: Recipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed
        self.shards: list[_Shard] = []
        self.where: Mapping[str, list[tuple[int, int]]] = defaultdict(list)
        named = {name for name, share in recipe.attack_shares if share > 0}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "numpy") as file:
                attacks, patients = (json.loads(file.metadata()[key]) for key in ("attacks", "patients"))
                kept = [row for row, attack in enumerate(attacks) if attack in named]
                forged, pristine, target = (file.get_tensor(name)[kept] for name in ("forged", "pristine", "target"))
                shard = _Shard(forged, pristine, target, [patients[row] for row in kept])
            for row, old in enumerate(kept):
                self.where[attacks[old]].append((len(self.shards), row))
            self.shards.append(shard)
        if missing := named - set(self.where):
            raise TrainingError(
                f"{folder} holds no pair of {', '.join(sorted(missing))}",
                hint="fill the bank with every attack that the recipe names",
            )

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        names, shares = zip(*self.recipe.attack_shares, strict=True)
        chances = np.array(shares) / sum(shares)
        while True:
            name = str(rng.choice(names, p=chances))
            shard, row = self.where[name][int(rng.integers(len(self.where[name])))]
            yield _turned(self.shards[shard], row, name, rng)

    def all(self) -> list[Pair]:
        """Every pair once, as it was drawn, to judge by."""
        pairs = []
        for name, places in self.where.items():
            for shard, row in ((self.shards[number], row) for number, row in places):
                forged, pristine, target = (
                    one[row].astype(np.float32) for one in (shard.forged, shard.pristine, shard.target)
                )
                pairs.append(Pair(forged, pristine, target, name, shard.patients[row]))
        return pairs


def _turned(shard: _Shard, row: int, name: str, rng: np.random.Generator) -> Pair:
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turn(array: NDArray[np.generic]) -> FloatArray:
        turned = np.rot90(array, quarter, axes=(-2, -1))
        return np.ascontiguousarray(turned[..., ::-1] if mirror else turned, dtype=np.float32)

    return Pair(turn(shard.forged[row]), turn(shard.pristine[row]), turn(shard.target[row]), name, shard.patients[row])
