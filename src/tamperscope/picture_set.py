"""Pictures of several sets through one pipeline, so that only what is in a picture tells forged from authentic.

    manifests ─ join ─▶ pictures ─ square ─ reduced ─ contrast ─ JPEG ─▶ DIR/pictures/*.png ─▶ DIR/manifest.csv

Collections of one class each differ in size, contrast recipe and file history, and a detector learns those. Here every
picture is cut to a square, reduced to the side of the smallest one (so that no class carries more detail), given one
contrast and written by one writer under one mark. What a generator left in the picture itself stays.

A run that was stopped goes on where it stopped; the manifest comes last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from tamperscope import pictures, study
from tamperscope.datasets import cases, images, join, leaks, splits, table
from tamperscope.datasets.manifest import Entry, Place, Tick, digest, digested, file_digest
from tamperscope.decode import decode
from tamperscope.errors import InputError, UnreadableError, UnsupportedError, UsageError
from tamperscope.pictures import Grey
from tamperscope.preprocess import resized
from tamperscope.records import JSON, FloatArray
from tamperscope.report.files import save
from tamperscope.writers import Mark
from tamperscope.writers.pictures import png_text

Contrast: TypeAlias = Literal["none", "percentile", "clahe", "match"]
CONTRASTS: tuple[Contrast, ...] = get_args(Contrast)
SCHEMA = "tamperscope/alignment/1"
ORDER, TABLE = "alignment.json", "manifest.csv"
LEAST_SIDE = 8
WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """What every picture goes through."""

    side: int | None = None
    """Pixels of the outcome; None for the side of the smallest picture. More of them add nothing but interpolation."""
    contrast: Contrast = "none"
    """"none" keeps the values of eight bits; "percentile" spreads the range that `pictures.PERCENTILES` names; "clahe"
    equalises that; "match" gives every picture the same histogram, the mean one of the authentic pictures."""
    jpeg: int | None = None
    """Quality of a JPEG round trip of all of them; None for none."""

    def __post_init__(self) -> None:
        if self.side is not None and self.side < LEAST_SIDE:
            raise UsageError(f"pictures of {self.side} pixels a side", hint=f"give {LEAST_SIDE} or more")
        if self.contrast not in CONTRASTS:
            raise UsageError(f"unknown contrast {self.contrast!r}", hint=f"one of {', '.join(CONTRASTS)}")
        if self.jpeg is not None and not 1 <= self.jpeg <= 100:
            raise UsageError(f"JPEG quality {self.jpeg}", hint="give 1 to 100")


@dataclass(frozen=True, slots=True)
class Split:
    """How patients are divided where the manifests do not say."""

    shares: splits.Shares
    seed: int = 0


def align(
    paths: Sequence[Path], out: Path, alignment: Alignment, split: Split | None = None, tick: Tick | None = None
) -> tuple[Entry, ...]:
    """Bring the pictures of manifests through one pipeline.

    Args:
        paths: manifests, all of them divided into parts or none; together they hold both classes.
        out: a new or empty folder, or one in which the same was begun.
        alignment: what is done to each picture.
        split: shares of the patients, if the manifests have no parts.
        tick: told of progress, if given.

    Returns:
        The rows of the manifest that was written: the new pictures with patients, labels, generators, grades and parts.

    Raises:
        UsageError: parts in some manifests only, a folder that holds something else, or it cannot be written.
        InputError: a picture cannot be read or is no single picture, all are of one class, or the split leaks.
    """
    manifests = join.read(paths)
    join.check_parts(paths, manifests)
    listed = _divided(_pictures(join.entries(manifests)), split)
    leaks.check(listed, pixels=False)
    sizes = _sizes(listed, alignment, tick)
    _prepare(out, alignment, listed)
    equal = _contrast(listed, alignment, sizes, tick)
    made = [_made(entry, out, alignment, sizes, equal) for entry in _each(listed, "aligning", tick)]
    about: dict[str, JSON] = {"dataset": "aligned", **asdict(alignment), **asdict(sizes)}
    table.write(out / TABLE, made, out, about)
    return tuple(made)


# --- what goes in ---


def _pictures(listed: Sequence[Entry]) -> tuple[Entry, ...]:
    """The same rows with the digests of their files, each of them a picture of its own, and both classes among them."""
    for group in cases.by_series(listed):
        if len(group) > 1:
            raise InputError(
                f"{cases.name_of(group[0])} is a series of {len(group)} files",
                hint="align single pictures; `tamperscope datasets slices` makes them of series",
            )
    labels = {entry.label for entry in listed}
    if len(labels) == 1:
        raise InputError(
            f"all {len(listed)} pictures are {labels.pop()}: there is nothing to align them with",
            hint="give the manifests of both classes at once",
        )
    return digested(listed)


def _divided(listed: tuple[Entry, ...], split: Split | None) -> tuple[Entry, ...]:
    if split is None or any(entry.part for entry in listed):
        return listed
    return splits.by_patient(listed, split.shares, split.seed)


def _each(listed: Sequence[Entry], what: str, tick: Tick | None) -> Iterator[Entry]:
    """The rows one after the other, with progress told."""
    for number, entry in enumerate(listed):
        if tick is not None:
            tick(what, number, len(listed))
        yield entry


def _plane(entry: Entry) -> tuple[FloatArray, int]:
    """The picture (H, W) as a viewer shows it, colour as luminance, and its stored bits."""
    reading = study.read(entry.path)
    if reading.failed:
        raise UnreadableError(f"{entry.path}: {reading.failed[0].error}", hint=reading.failed[0].hint)
    found = [series for one in reading.studies for series in one.series]
    if len(found) != 1:
        raise UnreadableError(f"{entry.path}: {len(found)} images in it", hint="give single pictures")
    volume = decode(found[0])
    if volume.shape[0] != 1:
        raise InputError(
            f"{entry.path} holds {volume.shape[0]} slices",
            hint="align single pictures; `tamperscope datasets slices` makes them of series",
        )
    return next(pictures.planes(volume)), volume.bits_stored


def _square(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The middle of a picture."""
    height, width = shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


# --- what is done to it ---


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Pixels a side to which all pictures are reduced first, and those that they have in the end."""

    detail: int
    side: int


def _sizes(listed: Sequence[Entry], alignment: Alignment, tick: Tick | None) -> _Sizes:
    smallest = min(min(_plane(entry)[0].shape) for entry in _each(listed, "measuring", tick))
    if smallest < LEAST_SIDE:
        raise InputError(f"the smallest picture has {smallest} pixels a side", hint="leave it out of the manifest")
    side = alignment.side or smallest
    return _Sizes(min(smallest, side), side)


def _small(entry: Entry, alignment: Alignment, sizes: _Sizes) -> FloatArray:
    """The square picture (side, side) from black, 0, to white, 255."""
    plane, bits = _plane(entry)
    if alignment.contrast != "none":
        low, high = np.percentile(plane, pictures.PERCENTILES)
        plane = (plane - low) * np.float32(WHITE / (high - low)) if high > low else np.zeros_like(plane)
    elif bits != 8 or plane.min() < 0.0:
        raise UnsupportedError(
            f"{entry.path} has {bits} bits, whose black and white nobody states",
            hint="choose a contrast: percentile, clahe or match",
        )
    least = resized(plane[_square(plane.shape)], (sizes.detail, sizes.detail))
    return np.clip(resized(least, (sizes.side, sizes.side)), 0.0, np.float32(WHITE))


def _contrast(
    listed: Sequence[Entry], alignment: Alignment, sizes: _Sizes, tick: Tick | None
) -> Callable[[FloatArray], Grey]:
    """What makes eight bits of a small picture."""
    if alignment.contrast == "match":
        authentic = [entry for entry in listed if entry.label == "authentic"]
        total = np.zeros(sizes.side**2)
        for entry in _each(authentic, "measuring the contrast", tick):
            total += np.sort(_small(entry, alignment, sizes), axis=None)
        return partial(pictures.matched, reference=total / len(authentic))
    return (lambda plane: pictures.clahe(_rounded(plane))) if alignment.contrast == "clahe" else _rounded


def _rounded(plane: FloatArray) -> Grey:
    return np.asarray(np.rint(plane), dtype=np.uint8)


# --- what comes out ---


def _prepare(out: Path, alignment: Alignment, listed: Sequence[Entry]) -> None:
    """An empty folder gets a note of what is made in it; one with the same note is gone on with."""
    order = {"schema": SCHEMA, **asdict(alignment), "data_sha256": digest(listed), "pictures": len(listed)}
    note = out / ORDER
    try:
        if note.is_file():
            same = json.loads(note.read_text(encoding="utf-8")) == order
        else:
            same = not out.exists() or not any(out.iterdir())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot use {out}: {error}", hint="choose an empty folder") from error
    if not same:
        raise UsageError(f"{out} holds something else, or another alignment", hint="choose an empty folder")
    save(note, (json.dumps(order, indent=2) + "\n").encode())


def _made(entry: Entry, out: Path, alignment: Alignment, sizes: _Sizes, equal: Callable[[FloatArray], Grey]) -> Entry:
    """Write the picture, and its mask if it has one, unless they are there; its row in the new manifest."""
    # The name tells nothing of the class.
    stem = hashlib.sha256(f"{cases.name_of(entry)} {entry.sha256}".encode()).hexdigest()[:16]
    path, mask = out / "pictures" / f"{stem}.png", out / "masks" / f"{stem}.png"
    if not path.is_file():
        shown = pictures.compressed(equal(_small(entry, alignment, sizes)), alignment.jpeg)
        # One mark for both classes: what was changed says so, and the words tell nothing of the class.
        save(path, _png(shown, Mark("alignment", entry.sha256)))
    shape = _plane(entry)[0].shape
    if entry.mask is not None and not mask.is_file():
        save(mask, _png(_mask(entry, shape, sizes), None))
    return replace(
        entry,
        path=path,
        sha256=file_digest(path),
        mask=None if entry.mask is None else mask,
        places=tuple(_place(place, shape, sizes.side) for place in entry.places),
    )


def _png(shown: Grey, mark: Mark | None) -> bytes:
    stream = BytesIO()
    Image.fromarray(shown).save(stream, "PNG", pnginfo=png_text(mark))
    return stream.getvalue()


def _mask(entry: Entry, shape: tuple[int, ...], sizes: _Sizes) -> Grey:
    """255 where any changed pixel of the source falls."""
    changed = images.planes(Path(str(entry.mask)))
    if changed.shape != (1, *shape):
        raise InputError(
            f"{entry.path} has the shape {shape}, its mask {changed.shape}", hint="the mask lies on the picture's grid"
        )
    cut = np.asarray(changed[0][_square(shape)] > 0, dtype=np.float32)
    shares = Image.fromarray(cut).resize((sizes.side, sizes.side), Image.Resampling.BILINEAR)
    return np.asarray((np.asarray(shares) > 0.0) * np.uint8(WHITE), dtype=np.uint8)


def _place(place: Place, shape: tuple[int, ...], side: int) -> Place:
    """(row, column) in the new picture of a place (k, row, column) or (row, column), moved to the rim if it was cut."""
    square = _square(shape)
    scale = side / (square[0].stop - square[0].start)
    row, column = (
        min(max(int((index - cut.start + 0.5) * scale), 0), side - 1)
        for index, cut in zip(place[-2:], square, strict=True)
    )
    return row, column
