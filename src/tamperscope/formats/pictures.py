"""PNG, JPEG and TIFF: what their headers say, and their samples as they are stored.

Pillow decodes; a picture's size is compared with the limits before a sample is decoded. Multi-page TIFF is a
stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tamperscope.errors import LimitError, TamperscopeError, UnreadableError, UnsupportedError
from tamperscope.limits import Limits, check_size
from tamperscope.records import JSON, FloatArray

FORMATS = ("PNG", "JPEG", "TIFF")
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY_BITS = {"1": 1, "L": 8, "LA": 8, "La": 8, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
COLOUR = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr")
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Decoded samples: float32 (D, H, W) as stored, or (D, H, W, 3) RGB."""

    voxels: FloatArray
    bits: int
    findings: tuple[str, ...]


def is_picture(data: bytes) -> bool:
    """Whether the first bytes are those of a PNG, JPEG or TIFF file."""
    return data.startswith(MAGIC)


def _check_depth(data: bytes, source: str) -> None:
    """Pillow halves 16-bit colour without a word: such a PNG (IHDR, PNG 3rd ed. 11.2.1) is refused by name."""
    if data.startswith(b"\x89PNG") and data[24:25] == b"\x10" and data[25:26] in (b"\x02", b"\x04", b"\x06"):
        raise UnsupportedError(f"{source}: PNG with 16 bits and more than one channel", hint="save it as 16-bit grey")


def is_own(data: bytes) -> bool:
    """Whether a PNG says in its header that tamperscope drew it (tEXt keyword Software; PNG 3rd ed., 11.3.3.2)."""
    return data.startswith(b"\x89PNG") and b"tEXtSoftware\x00tamperscope" in data[:512]


def peek(data: bytes, source: str, limits: Limits) -> tuple[int, dict[str, JSON]]:
    """Number of pages, and what the header of a picture says.

    Raises:
        UnreadableError: damaged.
        UnsupportedError: a colour model that is not read.
        LimitError: more samples than ``max_pixels``.
    """
    _check_depth(data, source)
    with _opened(data, source, limits) as image:
        frames = _frames(image)
        facts: dict[str, JSON] = {
            "container": image.format,
            "mode": image.mode,
            "rows": image.height,
            "columns": image.width,
            "bits_stored": GREY_BITS.get(image.mode, 8),
            "lossy": image.format == "JPEG",
        }
        return frames, facts


def load(data: bytes, source: str, limits: Limits) -> Picture:
    """Decode all pages of a picture; alpha is dropped, a palette applied.

    Raises:
        UnreadableError: damaged or cut short, or pages of different sizes.
        UnsupportedError: a colour model that is not read.
        LimitError: more samples than ``max_pixels``.
    """
    with _opened(data, source, limits) as image:
        frames, mode, size = _frames(image), image.mode, image.size
        channels = () if mode in GREY_BITS else (3,)
        check_size(source, (frames, image.height, image.width, *channels), limits)
        voxels = np.empty((frames, image.height, image.width, *channels), dtype=np.float32)
        for index in range(frames):
            image.seek(index)
            if image.size != size or image.mode != mode:
                raise UnreadableError(
                    f"{source}: page {index} is {image.size} {image.mode}, the first is {size} {mode}",
                    hint="save each page as a file of its own",
                )
            voxels[index] = _samples(image)
    findings = ("the alpha channel is dropped",) if mode in ALPHA else ()
    return Picture(voxels, GREY_BITS.get(mode, 8), findings)


def _samples(image: Image.Image) -> NDArray[np.generic]:
    if image.mode in ("LA", "La"):
        image.load()
        return np.asarray(image.getchannel("L"))
    return np.asarray(image if image.mode in GREY_BITS or image.mode == "RGB" else image.convert("RGB"))


def _frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


@contextmanager
def _opened(data: bytes, source: str, limits: Limits) -> Iterator[Image.Image]:
    """Open a picture; Pillow's many exceptions become ours."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.mode not in GREY_BITS and image.mode not in COLOUR:
                raise UnsupportedError(
                    f"{source}: colour model {image.mode} is not read", hint="save it as grey or RGB"
                )
            check_size(source, (_frames(image), image.height, image.width), limits)
            yield image
    except TamperscopeError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise LimitError(f"{source}: declares more pixels than can be decoded", hint="cut it into parts") from error
    # Pillow's plugins raise OSError, SyntaxError, struct.error, ValueError, KeyError and more on damage.
    except Exception as error:
        raise UnreadableError(
            f"{source}: damaged or cut short picture ({type(error).__name__})", hint="fetch the file again"
        ) from error
