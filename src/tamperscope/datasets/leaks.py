"""Does a split leak? One patient, one file or one picture in two parts makes a result worthless.

Pictures are compared in two steps. First by a difference hash (dHash; N. Krawetz, "Kind of Like That", 2013): the
picture is shrunk to a coarse grid, and each bit says whether it grows brighter from one cell to the next, along rows
and along columns. A copy that was resized, compressed, re-windowed or tampered with in one place keeps almost all
bits. Then the few pairs that are left are laid on each other: what is finer than the hash has to agree as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tamperscope.datasets.images import planes
from tamperscope.datasets.layout import named
from tamperscope.datasets.manifest import Entry, Tick
from tamperscope.errors import InputError
from tamperscope.records import FloatArray

Hash = NDArray[np.uint64]

GRID = 16
"""Cells a side: 2 x 16 x 16 = 512 bits."""
STEP = 0.01
"""Smallest difference of two cells that sets a bit, in parts of the picture's range: noise in air sets none."""
LIMIT = 32
"""Bits in which two pictures of one origin may differ. Slices and knees of different patients differ in 77 and more
(560,000 pairs); copies at JPEG quality 50, at three quarters of the size, blurred, with noise of 3 % of the range, or
with one tampered place, in 24 at most."""
DETAIL, SMOOTH = 64, 1.0
"""Side of the pictures that are laid on each other, and the Gaussian (in their pixels) that is taken away before."""
AGREE = 0.78
"""Least correlation of what is left. Of different patients it is 0.57 at most, of copies as above 0.83 at least."""
TRIES = 3
"""Pairs of pictures that are laid on each other for each two patients, the most similar first."""
PLAIN = 16
"""Fewer bits set are a picture with nothing in it, which is like any other such picture."""
RANGE = (1.0, 99.0)
"""Percentiles that the range of a picture is taken between."""
CT_HU = (-1000.0, 2000.0)
"""Values of CT outside of these differ between exports of one scan."""
PAIRS = 2**20
"""Pairs of hashes that are compared at once: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Two files in different parts that should not be."""

    kind: Literal["patient", "file", "pixels"]
    first: Entry
    second: Entry
    bits: int = 0
    """How many bits of the hashes differ, of 512; 0 for the other kinds."""

    def __str__(self) -> str:
        """As a sentence."""
        ends = f"{self.first.path} ({self.first.part}) and {self.second.path} ({self.second.part})"
        if self.kind == "patient":
            return f"patient {self.first.patient} is in two parts: {ends}"
        if self.kind == "file":
            return f"the same file in two parts: {ends}"
        return f"the same picture in two parts ({self.bits} of {2 * GRID * GRID} bits differ): {ends}"


def check(
    entries: Iterable[Entry], *, allow_leaks: bool = False, pixels: bool = True, tick: Tick | None = None
) -> tuple[Leak, ...]:
    """Refuse a leaking split, unless told not to.

    Args:
        entries: with digests and parts; those without a part are not looked at.
        allow_leaks: return what was found instead of raising.
        pixels: decode all pictures and look for near duplicates; without, patients and files only.
        tick: progress.

    Returns:
        The leaks: none, or with ``allow_leaks`` all.

    Raises:
        InputError: the split leaks, or a picture cannot be decoded.
    """
    found = find(entries, pixels=pixels, tick=tick)
    if found and not allow_leaks:
        raise InputError(
            f"the split leaks: {named([str(leak) for leak in found])}",
            hint="put all files of these patients into one part, or allow leaks if you know why",
        )
    return found


def find(entries: Iterable[Entry], *, pixels: bool = True, tick: Tick | None = None) -> tuple[Leak, ...]:
    """Every patient, file and picture that is in two parts; of two patients, the most similar pair of pictures.

    Raises:
        InputError: a picture cannot be decoded.
    """
    listed = tuple(entry for entry in entries if entry.part)
    found = [*_shared("patient", listed), *_shared("file", listed)]
    return (*found, *(_alike(listed, tick) if pixels else ()))


def difference_hash(picture: FloatArray) -> Hash:
    """The dHash of a picture (H, W): 512 bits as eight uint64."""
    clipped, span = _clipped(picture)
    bits = [
        np.diff(_shrunk(clipped, GRID, GRID + 1), axis=1) > STEP * span,
        np.diff(_shrunk(clipped, GRID + 1, GRID), axis=0) > STEP * span,
    ]
    return np.packbits(np.concatenate([one.ravel() for one in bits])).view(np.uint64)


def agreement(first: FloatArray, second: FloatArray) -> float:
    """Correlation (Pearson) of the detail of two pictures (H, W) of any sizes, -1 to 1; 0 where one has none."""
    one, other = _detail(first), _detail(second)
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.sum(one * other)) / norm if norm else 0.0


def _detail(picture: FloatArray) -> NDArray[np.float64]:
    small = _shrunk(_clipped(picture)[0], DETAIL, DETAIL).astype(np.float64)
    fine = small - ndimage.gaussian_filter(small, SMOOTH)
    return np.asarray(fine - fine.mean(), dtype=np.float64)


def _clipped(picture: FloatArray) -> tuple[FloatArray, float]:
    """The picture within its range, and how wide that is."""
    low, high = np.percentile(picture, RANGE)
    return np.clip(picture, low, high), float(high - low)


def _shrunk(picture: FloatArray, rows: int, columns: int) -> FloatArray:
    """Means over cells, whatever the size of the picture."""
    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BOX), dtype=np.float32)


def _planes(entry: Entry) -> FloatArray:
    voxels = planes(entry.path)
    return np.clip(voxels, *CT_HU) if entry.modality == "CT" else voxels


def _shared(kind: Literal["patient", "file"], listed: Sequence[Entry]) -> Iterator[Leak]:
    """The first pair of each patient, or each digest, that is in two parts."""
    seen: dict[str, Entry] = {}
    told: set[str] = set()
    for entry in listed:
        key = entry.patient if kind == "patient" else entry.sha256
        first = seen.setdefault(key, entry)
        if key and first.part != entry.part and key not in told:
            told.add(key)
            yield Leak(kind, first, entry)


# --- near duplicates ---


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two planes, each as the number of its entry and its own number in that file, whose hashes are close."""

    bits: int
    first: tuple[int, int]
    second: tuple[int, int]


def _alike(listed: Sequence[Entry], tick: Tick | None) -> list[Leak]:
    """The closest pair of pictures of each two patients in different parts that bears a closer look."""
    hashes, owners = _hashes(listed, tick)
    close: dict[tuple[str, str], list[_Pair]] = {}
    for pair in _pairs(hashes, owners, listed):
        first, second = listed[pair.first[0]], listed[pair.second[0]]
        # Two patients of one name are told as such, and one file twice as a file.
        if first.patient != second.patient and first.sha256 != second.sha256:
            close.setdefault((first.patient, second.patient), []).append(pair)
    found = []
    for key in sorted(close):
        nearest = sorted(close[key], key=lambda pair: pair.bits)[:TRIES]
        for pair in nearest:
            if _agree(pair, listed):
                found.append(Leak("pixels", listed[pair.first[0]], listed[pair.second[0]], pair.bits))
                break
    return found


def _agree(pair: _Pair, listed: Sequence[Entry]) -> bool:
    one, other = (_planes(listed[entry])[plane] for entry, plane in (pair.first, pair.second))
    return agreement(one, other) >= AGREE


def _pairs(hashes: Hash, owners: NDArray[np.intp], listed: Sequence[Entry]) -> Iterator[_Pair]:
    """All pairs across parts whose hashes differ in few bits."""
    parts = np.array([listed[entry].part for entry, _ in owners])
    names = sorted(set(parts.tolist()))
    for number, part in enumerate(names):
        ours = np.flatnonzero(parts == part)
        others = np.flatnonzero(np.isin(parts, names[number + 1 :]))
        size = max(1, PAIRS // max(1, others.size))
        for block in range(0, ours.size, size):
            rows = ours[block : block + size]
            bits = np.bitwise_count(hashes[rows, None] ^ hashes[None, others]).sum(axis=2, dtype=np.int64)
            for row, column in np.argwhere(bits <= LIMIT):
                first, second = owners[rows[row]].tolist(), owners[others[column]].tolist()
                yield _Pair(int(bits[row, column]), (first[0], first[1]), (second[0], second[1]))


def _hashes(listed: Sequence[Entry], tick: Tick | None) -> tuple[Hash, NDArray[np.intp]]:
    """The hashes (N, 8) of all planes that hold something, and (N, 2) their entry and their number in its file."""
    hashes, owners = [], []
    for number, entry in enumerate(listed):
        if tick is not None:
            tick("comparing pictures", number, len(listed))
        for k, plane in enumerate(_planes(entry)):
            value = difference_hash(plane)
            if int(np.bitwise_count(value).sum()) >= PLAIN:
                hashes.append(value)
                owners.append((number, k))
    stacked = np.array(hashes, dtype=np.uint64).reshape(-1, 2 * GRID * GRID // 64)
    return stacked, np.array(owners, dtype=np.intp).reshape(-1, 2)
