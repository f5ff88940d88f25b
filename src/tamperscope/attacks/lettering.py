"""Text, arrows and frames as coverage 0..1: what markers and annotations draw with.

Pillow's built-in font draws the text, so a record replays bit for bit only with the same version of Pillow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tamperscope.records import FloatArray


def text(words: str, height: int) -> FloatArray:
    """Coverage (h, w) of ``words``, trimmed to the ink; capitals are about ``height`` pixels tall."""
    font = ImageFont.load_default(size=max(1.4 * height, 4.0))
    left, top, right, bottom = (int(edge) for edge in font.getbbox(words))
    canvas = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), words, fill=255, font=font)
    drawn = np.asarray(canvas, dtype=np.float32) / 255.0
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if rows.size == 0:
        return np.zeros((1, 1), dtype=np.float32)
    return drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def arrow(shape: tuple[int, int], tip: tuple[int, int], degrees: float, length: int, width: int) -> FloatArray:
    """Coverage (H, W) of an arrow to ``tip`` (row, column), its tail ``degrees`` counterclockwise from the right."""
    canvas = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    back = np.array([-np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))])
    aside = np.array([back[1], -back[0]])
    end = np.array(tip, dtype=np.float64)
    neck, head = end + 0.4 * length * back, 0.2 * length * aside
    lines = [_xy(neck), _xy(end + length * back)]
    draw.line(lines, fill=255, width=width)
    draw.polygon([_xy(end), _xy(neck + head), _xy(neck - head)], fill=255)
    return np.asarray(canvas, dtype=np.float32) / 255.0


def frame(shape: tuple[int, int], centre: tuple[int, int], sides: tuple[int, int], width: int) -> FloatArray:
    """Coverage (H, W) of an empty rectangle of ``sides`` (rows, columns) round ``centre``."""
    canvas = Image.new("L", (shape[1], shape[0]))
    (j, i), (height, across) = centre, sides
    corners = (i - across // 2, j - height // 2, i + across // 2, j + height // 2)
    ImageDraw.Draw(canvas).rectangle(corners, outline=255, width=width)
    return np.asarray(canvas, dtype=np.float32) / 255.0


def placed(shape: tuple[int, int], drawn: FloatArray, centre: tuple[int, int]) -> FloatArray:
    """``drawn`` (h, w) on an empty plane (H, W), its middle at ``centre``; moved inside, and trimmed if larger."""
    plane = np.zeros(shape, dtype=np.float32)
    kept = drawn[: shape[0], : shape[1]]
    j, i = (int(np.clip(c - s // 2, 0, n - s)) for c, s, n in zip(centre, kept.shape, shape, strict=True))
    plane[j : j + kept.shape[0], i : i + kept.shape[1]] = kept
    return plane


def _xy(point: np.ndarray) -> tuple[float, float]:
    return float(point[1]), float(point[0])
