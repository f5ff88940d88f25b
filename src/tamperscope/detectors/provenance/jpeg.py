"""The JPEG history of pictures and of DICOM frames: how often, how strongly and by what they were compressed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydicom.uid import JPEGBaseline8Bit
from scipy import fft, ndimage

from tamperscope.detectors.provenance import seen, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.pixels import spread
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.formats import pictures
from tamperscope.limits import Limits
from tamperscope.records import FloatArray, Volume

TABLES, TWICE = "ITU-T T.81 K.1", "Popescu and Farid 2004; Lin et al. 2009"
THUMBNAIL, ONCE = "Kee and Farid 2010", "Fan and de Queiroz 2003"
DQT = 0xDB
ANNEX_K = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""The luminance table of ITU-T T.81, table K.1, which the library of the IJG scales by its quality."""
ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))
"""Natural index of each coefficient in the order of the stream (ITU-T T.81, figure 5)."""
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
"""The coefficients whose histograms are looked at: strong enough to have one."""
LARGEST = 1024
"""Rows and columns that are looked at."""
COUNT = 20
"""What a bin is expected to hold before its being empty means anything."""
EMPTY = 0.25
"""What a gap may hold of that; rounding between the two saves spills over."""
AGREE = 3
"""Frequencies that must show it."""
STEPS = 40
"""Coarsest first quantisation that is tried."""
DIFFERENT = 48.0
"""Grey levels over a patch of a thumbnail: what scaling and another JPEG do stays well below."""
FINEST = 3
"""Finest step that rounding to whole grey levels leaves to be seen."""
MANY = 200
"""Coefficients away from zero from which on their phases mean something."""
CROWDED = 0.6
"""Mean cosine of the phases: 0 for any smooth histogram, above 0.8 after a step of 3 (rounding of 0.29 grey levels)."""
LOSSLESS_FORMATS = ("PNG", "TIFF")


def check(opened: Opened, limits: Limits) -> Iterator[Seen]:
    """The history of one file that holds JPEG."""
    stream = _stream(opened)
    if stream is None:
        return
    table = luminance_table(stream)
    if table is not None:
        yield from _tables(table, opened.source)
        yield from _twice(stream, table, opened.source, limits)
    if opened.format == "picture":
        yield from _thumbnail(stream, opened.source, limits)


def _stream(opened: Opened) -> bytes | None:
    if opened.format == "picture":
        return opened.data if opened.data.startswith(segments.JPEG_START) else None
    if opened.parsed is None or opened.parsed.transfer_syntax != JPEGBaseline8Bit:
        return None
    return next(opened.codestreams(), None)


# --- quantisation tables ---


def luminance_table(stream: bytes) -> NDArray[np.int64] | None:
    """The quantisation table 0 of a JPEG, (8, 8) by row and column frequency; None if there is none."""
    for code, content in segments.of_jpeg(stream):
        while code == DQT and content:
            wide, number = content[0] >> 4, content[0] & 15
            size = 128 if wide else 64
            if len(content) < 1 + size:
                break
            if number == 0:
                values = np.frombuffer(content[1 : 1 + size], ">u2" if wide else ">u1").astype(np.int64)
                table = np.empty(64, np.int64)
                table[ZIGZAG] = values
                return table.reshape(8, 8) if values.all() else None
            content = content[1 + size :]
    return None


def standard_table(quality: int) -> NDArray[np.int64]:
    """The luminance table that the IJG's library makes of a quality (jcparam.c)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((ANNEX_K * scale + 50) // 100, 1, 255), dtype=np.int64)


def _tables(table: NDArray[np.int64], source: str) -> Iterator[Seen]:
    distances = {quality: int(np.abs(standard_table(quality) - table).sum()) for quality in range(1, 101)}
    quality = min(distances, key=lambda one: (distances[one], -one))
    if distances[quality] == 0:
        text = f"JPEG with the standard tables at quality {quality}."
    else:
        text = (
            f"JPEG with tables of its own, about as strong as standard quality {quality}: cameras, scanners and "
            "editors such as Photoshop have their own."
        )
    yield seen.note("jpeg-tables", text, TABLES, source)


# --- quantised twice ---


def _twice(stream: bytes, table: NDArray[np.int64], source: str, limits: Limits) -> Iterator[Seen]:
    luma = _luma(stream, source, limits)
    if luma is None:
        return
    coefficients = _coefficients(luma)
    firsts = [first_step(coefficients[:, u, v], int(table[u, v])) for u, v in FREQUENCIES]
    found = [first for first in firsts if first is not None]
    if len(found) >= AGREE:
        text = (
            f"The JPEG was saved twice, the first time more strongly: the histograms of {len(found)} of "
            f"{len(FREQUENCIES)} frequencies have the gaps of an earlier quantisation."
        )
        yield seen.note("jpeg-twice", text, TWICE, source)


def _luma(stream: bytes, source: str, limits: Limits) -> NDArray[np.float64] | None:
    """(H, W) luminance as the decoder gives it, cut to whole blocks and `LARGEST`; None if it is no grey or YCbCr."""
    pictures.peek(stream, source, limits)  # its size is compared with the limits before a sample is decoded
    with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
        if image.mode not in ("L", "RGB"):
            return None
        image.draft("L", image.size)
        rows, columns = (min(side, LARGEST) // 8 * 8 for side in (image.height, image.width))
        if min(rows, columns) < 64:
            return None
        return np.asarray(image.convert("L"), dtype=np.float64)[:rows, :columns]


def _coefficients(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 8, 8) cosine coefficients of the blocks, on the scale of JPEG (ITU-T T.81 A.3.3)."""
    rows, columns = luma.shape
    blocks = luma.reshape(rows // 8, 8, columns // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    return np.asarray(fft.dctn(blocks - 128.0, axes=(1, 2), norm="ortho"))


def first_step(values: NDArray[np.float64], step: int) -> int | None:
    """The step by which coefficients were quantised before ``step``, if theirs was coarser; None if nothing shows.

    Once quantised by q1 and then by q2 < q1, the multiples of q1 leave bins of q2 empty that lie between them: those
    that no ``round(m q1 / q2)`` reaches.
    """
    bins = np.rint(values / step).astype(np.int64)
    most = int(min(np.percentile(np.abs(bins), 99.5), 60)) if bins.size else 0
    if most < 3:
        return None
    counts = np.bincount(bins[np.abs(bins) <= most + 1] + most + 1, minlength=2 * most + 3).astype(np.float64)
    for first in range(step + 1, STEPS + 1):
        if _has_gaps(counts, most, first / step):
            return first
    return None


def _has_gaps(counts: NDArray[np.float64], most: int, ratio: float) -> bool:
    """Whether the bins that multiples of ``ratio`` cannot reach are empty, and their neighbours are not."""
    reached = {round(sign * m * ratio) for m in range(int(most / ratio) + 2) for sign in (-1, 1)}
    gaps = [k for k in range(-most, most + 1) if k not in reached]
    if len(gaps) < 2 or not any(abs(k) > 1 for k in gaps):
        return False
    if counts[np.array(gaps) + most + 1].sum() > EMPTY * counts.sum():
        return False  # by far the most common end, and a cheap one
    # What a gap ought to hold: the mean of the bins around it that can be reached, in a histogram that falls off.
    expected = {k: _around(counts, most, k, reached) for k in gaps}
    weighty = [k for k in gaps if expected[k] >= COUNT]
    if len(weighty) < 2:
        return False
    held = sum(counts[k + most + 1] for k in weighty)
    worst = max(counts[k + most + 1] / expected[k] for k in weighty)
    return bool(held <= EMPTY * sum(expected[k] for k in weighty) and worst < 2 * EMPTY)


def _around(counts: NDArray[np.float64], most: int, k: int, reached: set[int]) -> float:
    """Half the smaller of the nearest bins on either side that can be reached: they hold what the gap lost, too."""
    sides = []
    for direction in (-1, 1):
        near = next((k + direction * n for n in range(1, most + 2) if k + direction * n in reached), None)
        if near is None or abs(near) > most + 1:
            return 0.0
        sides.append(float(counts[near + most + 1]))
    return min(sides) / 2


# --- thumbnails ---


def _thumbnail(stream: bytes, source: str, limits: Limits) -> Iterator[Seen]:
    """The preview that a camera put into the EXIF: editors that do not know it leave the old one there."""
    preview = _preview(stream, source, limits)
    luma = _luma(stream, source, limits) if preview is not None else None
    if preview is None or luma is None:
        return
    with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
        shape = abs(np.log(image.width / image.height) - np.log(preview.width / preview.height))
        small = np.asarray(image.convert("L").resize(preview.size, Image.Resampling.BOX), dtype=np.float64)
    if shape > 0.05:
        text = "The thumbnail has other proportions than the picture: it was cropped or turned since."
        yield seen.note("thumbnail", text, THUMBNAIL, source)
        return
    apart = ndimage.uniform_filter(small - np.asarray(preview, dtype=np.float64), 5)
    if float(np.abs(apart).max()) > DIFFERENT:
        text = "The thumbnail in the file shows something else than the picture: it was changed since."
        yield seen.warning("thumbnail", text, THUMBNAIL, source)


def _preview(stream: bytes, source: str, limits: Limits) -> Image.Image | None:
    """The thumbnail as grey values (JPEGInterchangeFormat of IFD 1, EXIF 2.32 4.5.5); None if there is none."""
    pictures.peek(stream, source, limits)
    with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
        block = image.info.get("exif", b"")
        directory = image.getexif().get_ifd(ExifTags.IFD.IFD1)
    start, length = directory.get(0x0201), directory.get(0x0202)
    if not isinstance(start, int) or not isinstance(length, int) or not block.startswith(b"Exif\0\0"):
        return None
    data = block[6 + start : 6 + start + length]
    pictures.peek(data, source, limits)
    with Image.open(BytesIO(data), formats=("JPEG",)) as preview:
        return preview.convert("L")


# --- pictures stored without loss that were JPEG ---


def of_volume(volume: Volume) -> Iterator[Seen]:
    """The quantisation of an earlier JPEG in slices of 8 bits that are stored without loss."""
    header = volume.header
    if volume.voxels.size == 0 or volume.format == "nifti" or volume.bits_stored > 8 or not _is_lossless(volume):
        return
    planes = [volume.slab(k, k + 1).luminance[0] for k in spread(len(volume.voxels))]
    if 2 * sum(was_jpeg(plane) for plane in planes) <= len(planes):
        return
    text = "The pixels are stored without loss, and their blocks of 8 x 8 were quantised: they were JPEG once."
    told = header.get("lossy") is True
    make = seen.note if told or volume.format == "picture" else seen.warning
    yield make("jpeg-once", text, ONCE)


def _is_lossless(volume: Volume) -> bool:
    if volume.format == "picture":
        return volume.header.get("container") in LOSSLESS_FORMATS
    return str(volume.header.get("transfer_syntax_uid")) != JPEGBaseline8Bit


def was_jpeg(plane: FloatArray) -> bool:
    """Whether the cosine coefficients of (H, W) values of 8 bits lie at the multiples of a step."""
    rows, columns = (min(side, LARGEST) // 8 * 8 for side in plane.shape)
    if min(rows, columns) < 64:
        return False
    coefficients = _coefficients(plane[:rows, :columns].astype(np.float64))
    return sum(_is_comb(coefficients[:, u, v]) for u, v in FREQUENCIES) >= AGREE


def _is_comb(values: NDArray[np.float64]) -> bool:
    """Whether values crowd at multiples of a step from `FINEST` on: the mean cosine of their phase."""
    for step in range(FINEST, STEPS + 1):
        far = values[np.abs(values) > step / 2]
        if far.size < MANY:
            return False
        if float(np.cos(2 * np.pi / step * far).mean()) > CROWDED:
            return True
    return False
