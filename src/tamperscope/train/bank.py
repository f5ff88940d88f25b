"""Pairs of crops kept on disk: drawn once, seen many times, each time turned and mirrored anew.

Forging a pair takes as long as a small network learns from it. With a bank, the forging is paid once for all runs, and
a run chooses which attacks it learns from without drawing again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import fft
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tamperscope.errors import TrainingError
from tamperscope.preprocess import LARGEST_RESIDUAL
from tamperscope.records import FloatArray
from tamperscope.train.crops import Crops, Pair, Recipe
from tamperscope.train.films import Films

SHARD = 256
"""Pairs a file."""
LARGEST_GAIN = (2.0, 4.0)
HALF_PASS = (0.2, 0.6)
"""Of the kernels between which a pair may change, in cycles per pixel; `kernel_change` has the model and its source."""


def fill(
    crops: Crops | Films,
    folder: Path,
    pairs: int,
    workers: int = 2,
    tick: Callable[[int, int], None] = lambda _, __: None,
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

    An attack that the shares do not name is left out. Each worker draws from a generator of its own. A share
    ``kernel_share`` of the pairs gets another reconstruction kernel, both twins alike.

    Raises:
        TrainingError: the folder holds no pair of an attack that the shares name.
    """

    def __init__(self, folder: Path, recipe: Recipe, seed: int, kernel_share: float = 0.0) -> None:
        self.recipe = recipe
        self.seed = seed
        self.kernel_share = kernel_share
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
        while True:
            name = self.recipe.attack(rng)
            shard, row = self.where[name][int(rng.integers(len(self.where[name])))]
            pair = _turned(self.shards[shard], row, name, rng)
            yield _other_kernel(pair, rng) if rng.random() < self.kernel_share else pair

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


def _other_kernel(pair: Pair, rng: np.random.Generator) -> Pair:
    """Both twins through another kernel. All channels are linear in the picture; the third is held to its noise."""
    old, new = rng.uniform(*HALF_PASS, size=2)
    square = (np.arange(pair.target.shape[-1]) / (2.0 * pair.target.shape[-1])) ** 2
    slope = np.log(2.0) * (old**-2.0 - new**-2.0)
    limit = np.log(rng.uniform(*LARGEST_GAIN))
    ratio = np.exp(np.clip(slope * (square[:, None] + square[None]), -np.inf, limit)).astype(np.float32)

    def through(seen: FloatArray) -> FloatArray:
        changed: FloatArray = fft.idctn(fft.dctn(seen, axes=(1, 2)) * ratio, axes=(1, 2))
        return changed

    forged, pristine = through(pair.forged), through(pair.pristine)
    gain = max(float(np.median(np.abs(pristine[2])) / max(float(np.median(np.abs(pair.pristine[2]))), 1e-3)), 1e-3)
    for seen in (forged, pristine):
        seen[2] /= gain
        seen[0] = np.clip(seen[0], -1.0, 1.0)
        seen[1:] = np.clip(seen[1:], -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    return replace(pair, forged=forged, pristine=pristine)


class Mined:
    """Authentic crops (3, H, W) of the files of a folder, in memory: one file a volume.

    A volume is drawn from by the root of its size, over the number of its patient's volumes, so that neither the whole
    volumes of few patients nor the single slices of many are all that is seen.

    Raises:
        TrainingError: the folder holds no file.
    """

    def __init__(self, folder: Path) -> None:
        self.crops: list[NDArray[np.float16]] = []
        patients: list[str] = []
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "numpy") as file:
                self.crops.append(file.get_tensor("authentic"))
                patients.append(json.loads(file.metadata()["patient"]))
        if not self.crops:
            raise TrainingError(f"{folder} holds no crops", hint="mine them first")
        count = Counter(patients)
        sizes = np.array([len(crops) ** 0.5 for crops in self.crops])
        weights = np.array([1.0 / count[patient] for patient in patients]) * sizes
        self.weights = weights / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """(count, 3, H, W), turned anew."""
        found = []
        for file in rng.choice(len(self.crops), count, p=self.weights):
            crop = self.crops[file][int(rng.integers(len(self.crops[file])))].astype(np.float32)
            found.append(np.rot90(crop, int(rng.integers(4)), axes=(-2, -1)))
        return np.stack(found)
