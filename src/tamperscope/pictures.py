"""Slices as 8-bit pictures of one size: how the classifiers of the literature see a study.

They take a picture out of a study as a viewer would show it, resize it and classify it. That throws away what lies
below a grey level and between the pixels, so the detectors of this package do not do it; it is here for the baselines.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tamperscope.errors import UsageError
from tamperscope.records import JSON, FloatArray, Volume

Grey = NDArray[np.uint8]
LEVELS = 256
PERCENTILES = (0.5, 99.5)
"""Between which the values of anything but CT are spread."""
TILES = 8
"""Contextual regions a side of CLAHE, as Zuiderveld proposes."""
NEIGHBOURS = (3, 5, 9, 17)
"""Sides of the means by which pixels of one value are ranked, see `matched`."""
LIMIT = 2.0
"""Largest count of a grey level in a region, in multiples of the mean."""


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """How a slice becomes the picture that a classifier sees. The values of the picture are 0 to 1."""

    side: int
    """Pixels a side; the slice is stretched to a square."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    """Lowest and highest value that CT shows, in HU: from air to bone, the range that lung nodules are looked for in
    (Setio et al., Medical Image Analysis 42, 2017)."""
    clahe: bool = False
    """Contrast limited adaptive histogram equalisation of the resized picture."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UsageError(f"pictures of {self.side} pixels a side", hint="give 1 or more")
        low, high = self.window_hu
        if not low < high:
            raise UsageError(f"a window from {low:g} to {high:g} HU", hint="the first value is the lower one")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PictureSpec:
        """From what `settings` gave, as JSON keeps it.

        Raises:
            KeyError, TypeError, ValueError: something is missing or of another kind.
            UsageError: a side or window that is none.
        """
        low, high = settings["window_hu"]
        return cls(int(settings["side"]), (float(low), float(high)), bool(settings["clahe"]))

    @property
    def settings(self) -> dict[str, JSON]:
        """As JSON: side, window_hu and clahe."""
        return {"side": self.side, "window_hu": list(self.window_hu), "clahe": self.clahe}


def picture(plane: FloatArray, modality: str, spec: PictureSpec) -> FloatArray:
    """A slice (H, W), bright as a viewer shows it, as float32 (1, side, side) of 0 to 1.

    Args:
        plane: Hounsfield units for CT, else stored values; MONOCHROME1 inverted already, see `planes`.
        modality: CT is shown through the window, anything else between its own percentiles.
        spec: How.
    """
    return unit(grey(plane, modality, spec))


def grey(plane: FloatArray, modality: str, spec: PictureSpec) -> Grey:
    """The same as uint8 (side, side): what takes a quarter of the memory."""
    shown = native(plane, modality, spec.window_hu)
    size = (spec.side, spec.side)
    small = np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)
    return clahe(small) if spec.clahe else small


def native(plane: FloatArray, modality: str, window_hu: tuple[float, float]) -> Grey:
    """A slice (H, W) as uint8 (H, W), pixel by pixel; see `picture`."""
    return _eight_bit(plane, *(window_hu if modality == "CT" else np.percentile(plane, PERCENTILES)))


def unit(shown: Grey) -> FloatArray:
    """Pictures (..., H, W) of grey levels as float32 (..., 1, H, W) of 0 to 1."""
    return np.asarray(shown[..., None, :, :] * np.float32(1.0 / (LEVELS - 1)), dtype=np.float32)


def planes(volume: Volume) -> Iterator[FloatArray]:
    """The slices (H, W) of a volume one after the other, colour as luminance, bright where a viewer shows them so."""
    inverted = volume.photometric == "MONOCHROME1"  # its lowest value is white (DICOM PS3.3 C.7.6.3.1.2)
    for k in range(volume.shape[0]):
        (plane,) = volume.slab(k, k + 1).luminance
        yield -plane if inverted else plane


def _eight_bit(plane: FloatArray, low: float, high: float) -> Grey:
    """From black at ``low`` to white at ``high``; a plane of one value is black."""
    share = (plane - low) / (high - low) if high > low else np.zeros_like(plane)
    return np.asarray(np.rint(np.clip(share, 0.0, 1.0) * (LEVELS - 1)), dtype=np.uint8)


def clahe(shown: Grey, tiles: int = TILES, limit: float = LIMIT) -> Grey:
    """Contrast limited adaptive histogram equalisation of a picture (H, W).

    Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994: each of ``tiles`` x ``tiles``
    regions is equalised by its own histogram, cut off at ``limit`` times its mean and what was cut off spread over all
    grey levels; between the centres of the regions the mappings are interpolated bilinearly.
    """
    height, width = shown.shape
    rows, columns = -(-height // tiles), -(-width // tiles)
    whole = np.pad(shown, ((0, rows * tiles - height), (0, columns * tiles - width)), mode="symmetric")
    regions = whole.reshape(tiles, rows, tiles, columns).swapaxes(1, 2).reshape(tiles, tiles, -1)
    maps = np.array([[_mapping(region, limit) for region in line] for line in regions])
    (above, below, down), (left, right, across) = _between(height, rows, tiles), _between(width, columns, tiles)
    down = down[:, None]
    upper = maps[above[:, None], left, shown] * (1.0 - across) + maps[above[:, None], right, shown] * across
    lower = maps[below[:, None], left, shown] * (1.0 - across) + maps[below[:, None], right, shown] * across
    return np.asarray(np.rint(upper * (1.0 - down) + lower * down), dtype=np.uint8)


def _mapping(region: Grey, limit: float) -> NDArray[np.float64]:
    """Grey level to grey level, (256)."""
    counts = np.bincount(region, minlength=LEVELS).astype(np.float64)
    most = limit * region.size / LEVELS
    cut = np.minimum(counts, most)
    cut += (counts - cut).sum() / LEVELS
    return np.asarray(np.cumsum(cut) * ((LEVELS - 1) / region.size))


def _between(length: int, step: int, tiles: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Regions with the nearest centres before and behind each of ``length`` pixels, and the share of the latter.

    At the rim it is the outermost region alone.
    """
    at = np.clip((np.arange(length) + 0.5) / step - 0.5, 0.0, tiles - 1.0)
    first = np.floor(at).astype(np.intp)
    return first, np.minimum(first + 1, tiles - 1), at - first


def matched(plane: FloatArray, reference: NDArray[np.float64]) -> Grey:
    """A picture (H, W) with exactly the values of ``reference`` (H x W of them, rising), in the order of its own.

    Coltuc, Bolon and Chassery, Exact Histogram Specification, IEEE Transactions on Image Processing 15, 2006: pixels
    of one value are ranked by the means of growing neighbourhoods, so that flat areas are not torn into noise.
    """
    keys = [ndimage.uniform_filter(plane, width).ravel() for width in reversed(NEIGHBOURS)]
    shown = np.empty(plane.size, dtype=np.uint8)
    shown[np.lexsort((*keys, plane.ravel()))] = np.rint(np.clip(reference, 0.0, LEVELS - 1))
    return shown.reshape(plane.shape)


def compressed(shown: Grey, quality: int | None) -> Grey:
    """What a JPEG file of this quality leaves of a picture (H, W); the picture itself for None."""
    if quality is None:
        return shown
    stream = io.BytesIO()
    Image.fromarray(shown).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream), dtype=np.uint8)
