"""What a header has to say once the pixels went through a lossy codec, as the benign steps of a forgery may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

METHODS = {"jpeg": "ISO_10918_1", "jpeg2000": "ISO_15444_1", "jpeg-ls": "ISO_14495_1"}
"""Defined terms of Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""


def methods(order: Mapping[str, Any]) -> list[str]:
    """The codecs of an order's steps on pixels, in their order."""
    pixels = order["pixels"]
    if pixels is None:
        return []
    steps = pixels["params"].get("steps", [pixels])
    return [METHODS[step["params"]["codec"]] for step in steps if step["params"].get("codec") in METHODS]


def declare(datasets: Sequence[Dataset], used: Sequence[str]) -> None:
    """Lossy Image Compression (0028,2110) = 01 and the methods, after those that are there: once lossy, always lossy.

    The ratio is not stated: what is written is not compressed, and the codec's own ratio differs from slice to slice.
    """
    for dataset in datasets if used else ():
        before = dataset.get("LossyImageCompressionMethod") or []
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionMethod = [*([before] if isinstance(before, str) else before), *used]
