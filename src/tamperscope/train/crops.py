"""Pairs of crops for training: a forged place and its pristine twin, through the same processing.

Every pair is made on the fly from an authentic volume: a piece is cut round a place, an attack forges it in 3D, one
slice is taken, both versions may pass through the same benign change, and both become the channels that the network
sees. The truth is where the forgery moved the values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from torch.utils.data import IterableDataset, get_worker_info

from tamperscope import anatomy, attacks, preprocess
from tamperscope.attacks.cubes import Triple
from tamperscope.errors import AttackError
from tamperscope.records import FloatArray, Volume

CROP = 128
PIECE = 192
"""Side of the piece that is cut out for forging: the crop, its jitter, and room for a touch-up."""
PIECE_SLICES = 27
CHANGED_HU, TOUCHED_HU = 6.0, 0.5
"""Mean absolute change above which a pixel is forged, and up to which it is authentic; not judged between."""
IGNORE = -1.0
BEFORE = (("denoise", "add-noise"), ("add-noise",), ("denoise",), ("resample-whole",))
BEFORE_SHARES = (0.4, 0.35, 0.1, 0.15)
AFTER = ("denoise", "add-noise", "resample-whole", "compress")
"""The benign changes that a piece may get before it is forged (a sequence), and both twins afterwards (one)."""
RIM_MM = 16.0
SINGLES = 2.5
"""Weight of all patients with single slices together; each patient with a whole volume weighs 1."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How often what happens. The Card of published weights lists the shares of each leg of their training."""

    clip_hu: tuple[float, float] = (-1000.0, 400.0)
    attack_shares: tuple[tuple[str, float], ...] = (
        ("ct-gan-blend-inject", 0.20),
        ("ct-gan-blend-remove", 0.38),
        ("resample-paste", 0.12),
        ("blur-regrain", 0.06),
        ("inpaint", 0.07),
        ("copy-move", 0.05),
        ("nodule", 0.06),
        ("splice", 0.06),
    )
    lung_share: float = 0.85
    """Share of places in the lungs; the rest lies anywhere in the body."""
    rim_share: float = 0.35
    """Share of the places in the lungs that move by up to `RIM_MM` in the plane: borders, and slivers of lung."""
    before_share: float = 0.5
    """Share of pieces that get a benign change before they are forged: other kernels, other doses."""
    after_share: float = 0.35
    """Share of pairs that get a benign change afterwards, both twins alike."""

    def attack(self, rng: np.random.Generator) -> str:
        """The name of one attack, drawn by the shares."""
        names, shares = zip(*self.attack_shares, strict=True)
        return str(rng.choice(names, p=np.array(shares) / sum(shares)))


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An authentic volume with what sampling needs of it."""

    patient: str
    volume: Volume
    lung: np.ndarray
    """Flat indices of lung voxels."""
    body: np.ndarray
    """Flat indices of body voxels."""
    noise: FloatArray
    """Noise of each slice, in HU."""
    weight: float


def source(patient: str, volume: Volume, clip_hu: tuple[float, float], weight: float) -> Source:
    """Prepare ``volume`` (D, H, W) in HU: values clipped to what the network sees, places and noise looked up.

    A fifth of the places is kept, at random positions of a fixed stride, to bound memory.
    """
    voxels = np.clip(volume.voxels, clip_hu[0], 3071.0)
    lung, body = (np.flatnonzero(find(voxels))[::5] for find in (anatomy.lungs, anatomy.body))
    noise = np.array([preprocess.noise_level(np.clip(plane, *clip_hu)) for plane in voxels], dtype=np.float32)
    return Source(patient, replace(volume, voxels=voxels), lung, body, noise, weight)


def sources(volumes: Iterable[tuple[str, Volume]], clip_hu: tuple[float, float]) -> list[Source]:
    """Each volume of (patient, volume) that shows lung, prepared. A patient's volumes share the patient's weight."""
    listed = list(volumes)
    count = Counter(patient for patient, _ in listed)
    singles = {patient for patient, volume in listed if volume.shape[0] == 1}
    made = []
    for patient, volume in listed:
        weight = (SINGLES / len(singles) if patient in singles else 1.0) / count[patient]
        made.append(source(patient, volume, clip_hu, weight))
    return [one for one in made if one.lung.size > 0]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A crop and its twin: channels float32 (3, 128, 128) each, and the target float32 (128, 128).

    The target is 1 where forged, 0 where authentic, -1 where not judged.
    """

    forged: FloatArray
    pristine: FloatArray
    target: FloatArray
    attack: str
    patient: str


class Crops(IterableDataset[Pair]):
    """An endless stream of `Pair`. Each worker draws from a generator of its own, spawned from ``seed``."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe, seed: int) -> None:
        self.sources = sources
        self.recipe = recipe
        self.seed = seed
        weights = np.array([one.weight for one in sources])
        self.weights = weights / weights.sum()

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            pair = self.draw(rng)
            if pair is not None:
                yield pair

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """One pair, or None where the attack cannot be made or happened to change nothing."""
        one = self.sources[int(rng.choice(len(self.sources), p=self.weights))]
        piece, centre, slice_index = _piece(one, self._place(one, rng))
        quiet = float(preprocess.noise_level(piece.voxels[centre[0]]))
        if rng.random() < self.recipe.before_share:
            for change in BEFORE[int(rng.choice(len(BEFORE), p=BEFORE_SHARES))]:
                piece = _apply_benign(piece, rng, (change,))
        name = self.recipe.attack(rng)
        attack = self._attacks(rng, name)[name]
        try:
            forgery = attack.apply(piece, attack.sample(piece, rng, at=centre))
        except AttackError:  # no such finding here, or no room for it
            return None
        touched = np.flatnonzero(forgery.mask.any(axis=(1, 2)))
        near = touched[np.abs(touched - centre[0]) <= max(2, int(10.0 / piece.spacing_mm[0]))]
        if near.size == 0:
            return None
        k = int(rng.choice(near))
        twin, forged = (replace(piece, voxels=v[k : k + 1]) for v in (piece.voxels, forgery.volume.voxels))
        target = _target(twin.voxels[0], forged.voxels[0])
        if not (target > 0).any():
            return None
        if rng.random() < self.recipe.after_share:
            state = rng.integers(2**31)
            twin, forged = (_apply_benign(v, np.random.default_rng(state), AFTER) for v in (twin, forged))
        # The noise of the whole slice is what a scan measures; what benign changes did to it shows in the piece.
        depth = one.volume.shape[0]
        noise = float(one.noise[min(slice_index + k - centre[0], depth - 1)])
        noise *= float(preprocess.noise_level(twin.voxels[0])) / quiet
        seen = [preprocess.channels(v.voxels[0], self.recipe.clip_hu, noise) for v in (forged, twin)]
        first, second, truth = _turned((*seen, target), centre, rng)
        return Pair(first, second, truth, name, one.patient)

    def _place(self, one: Source, rng: np.random.Generator) -> Triple:
        lung = one.lung.size > 0 and (rng.random() < self.recipe.lung_share or one.body.size == 0)
        found = np.unravel_index(int(rng.choice(one.lung if lung else one.body)), one.volume.shape)
        reach = RIM_MM if lung and rng.random() < self.recipe.rim_share else 0.0
        moved = [rng.uniform(-reach, reach) / mm if axis else 0.0 for axis, mm in enumerate(one.volume.spacing_mm)]
        k, j, i = (
            int(np.clip(round(start + step), 0, size - 1))
            for start, step, size in zip(found, moved, one.volume.shape, strict=True)
        )
        return k, j, i

    def _attacks(self, rng: np.random.Generator, name: str) -> Mapping[str, attacks.Attack]:
        if name != "splice":
            return attacks.local()
        donor = self.sources[int(rng.integers(len(self.sources)))]
        piece, (k, j, i), _ = _piece(donor, self._place(donor, rng))
        around = (slice(max(k - 9, 0), k + 9), slice(max(j - 32, 0), j + 32), slice(max(i - 32, 0), i + 32))
        return attacks.local((replace(piece, voxels=piece.voxels[around]),))


def _turned(planes: Sequence[FloatArray], centre: Triple, rng: np.random.Generator) -> list[FloatArray]:
    """The same crop round a place of each of the planes (..., H, W), turned and mirrored alike."""
    row, column = (
        int(np.clip(c - rng.integers(24, CROP - 24), 0, n - CROP))
        for c, n in zip(centre[1:], planes[0].shape[-2:], strict=True)
    )
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
    found = []
    for plane in planes:
        turned = np.rot90(plane[..., row : row + CROP, column : column + CROP], quarter, axes=(-2, -1))
        found.append(np.ascontiguousarray(turned[..., ::-1] if mirror else turned))
    return found


def _piece(one: Source, place: Triple) -> tuple[Volume, Triple, int]:
    """The piece of a volume round ``place``, the place inside it, and the slice of the volume that it was."""
    volume = one.volume
    sizes = (PIECE_SLICES, PIECE, PIECE)
    starts = [int(np.clip(p - s // 2, 0, max(n - s, 0))) for p, s, n in zip(place, sizes, volume.shape, strict=True)]
    cut = tuple(slice(a, a + s) for a, s in zip(starts, sizes, strict=True))
    k, j, i = (p - a for p, a in zip(place, starts, strict=True))
    return (
        replace(volume, voxels=volume.voxels[cut].copy(), digest=f"{volume.digest}@{starts}"),
        (k, j, i),
        place[0],
    )


def _apply_benign(volume: Volume, rng: np.random.Generator, names: Sequence[str]) -> Volume:
    changes = attacks.benign()
    change = changes[str(rng.choice(list(names)))]
    return change.apply(volume, change.sample(volume, rng)).volume


def _target(twin: FloatArray, forged: FloatArray) -> FloatArray:
    change = ndimage.gaussian_filter(np.abs(forged - twin), 1.5)
    return np.where(change > CHANGED_HU, 1.0, np.where(change > TOUCHED_HU, IGNORE, 0.0)).astype(np.float32)
