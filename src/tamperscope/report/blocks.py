"""Blocks that a picture is put together from: images of their own size, of text or of other blocks.

What is stacked from blocks cannot overlap and is never cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKGROUND: Colour = (17, 20, 26)
FRAME: Colour = (52, 58, 70)
INK: Colour = (236, 239, 244)
FAINT: Colour = (160, 168, 182)
LINES = 4
"""Most lines of one text; what is longer ends in an ellipsis, since the other formats hold it whole."""
LONGEST = 2000
"""Most characters of one text that are looked at."""


def sized(size: int, width: int) -> int:
    """Text of a wide picture is larger, since it is shown reduced."""
    return max(size, round(size * width / 1220))


def font(size: int) -> Font:
    """Pillow's built-in font, ``size`` pixels high."""
    return ImageFont.load_default(size)


def _printable(text: str) -> str:
    """Text in the glyphs of Pillow's built-in font, which has little more than ASCII."""
    text = unicodedata.normalize("NFKD", text.replace("×", "x").replace("–", "-"))
    text = "".join(c for c in text if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c in "·…" else " " if c.isspace() else "?" for c in text)


def text(
    content: str, size: int, colour: Colour, width: int, background: Colour = BACKGROUND, *, tight: bool = False
) -> Image.Image:
    """Text wrapped to ``width`` pixels; ``tight`` makes the block no wider than the text."""
    face = font(size)
    lines = _wrapped(_printable(content[:LONGEST]), face, width)
    step = round(size * 1.3)
    across = round(max(face.getlength(line) for line in lines)) + 8 if tight else width
    image = Image.new("RGB", (across, step * len(lines) + 2), background)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((4 if tight else 0, row * step), line, font=face, fill=colour)
    return image


def _wrapped(content: str, face: Font, width: int) -> list[str]:
    """Lines that fit ``width``, `LINES` at most."""
    lines = [""]
    for word in content.split():
        first, *others = _broken(word, face, width)
        longer = f"{lines[-1]} {first}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(first)
        lines += others
    if len(lines) <= LINES:
        return lines
    last = lines[LINES - 1]
    while last and face.getlength(f"{last}…") > width:
        last = last[:-1]
    return [*lines[: LINES - 1], f"{last}…"]


def _broken(word: str, face: Font, width: int) -> list[str]:
    """Pieces of a word that fit ``width``: paths and UIDs have no spaces."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and face.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def captioned(caption: str, image: Image.Image, least: int) -> Image.Image:
    """An image under its caption, centred in a block at least ``least`` pixels wide."""
    return stack([text(caption, 16, FAINT, max(image.width, least)), centred(image, least)], 4)


def centred(image: Image.Image, width: int) -> Image.Image:
    """An image in the middle of a block at least ``width`` pixels wide."""
    wide = Image.new("RGB", (max(width, image.width), image.height), BACKGROUND)
    wide.paste(image, ((wide.width - image.width) // 2, 0))
    return wide


def stack(blocks: Sequence[Image.Image], gap: int) -> Image.Image:
    """Blocks below each other, ``gap`` pixels apart."""
    size = max(b.width for b in blocks), sum(b.height for b in blocks) + gap * (len(blocks) - 1)
    image, y = Image.new("RGB", size, BACKGROUND), 0
    for block in blocks:
        image.paste(block, (0, y))
        y += block.height + gap
    return image


def beside(blocks: Sequence[Image.Image], gap: int) -> Image.Image:
    """Blocks side by side, their upper edges in line, ``gap`` pixels apart."""
    size = sum(b.width for b in blocks) + gap * (len(blocks) - 1), max(b.height for b in blocks)
    image, x = Image.new("RGB", size, BACKGROUND), 0
    for block in blocks:
        image.paste(block, (x, 0))
        x += block.width + gap
    return image
