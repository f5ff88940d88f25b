"""One picture a series: the slice with the strongest evidence, where it lies, and the verdict in plain words.

The picture is stacked from blocks, each an image of its own size, so that nothing can overlap or be cut.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tamperscope.records import Region, SeriesResult, Volume

from . import picture, words
from .blocks import BACKGROUND, FAINT, FRAME, INK, Colour, beside, captioned, centred, font, sized, stack, text

VERDICT_COLOURS: dict[str, Colour] = {
    "suspicious": (255, 176, 58),
    "no_evidence": (110, 190, 255),
    "inconclusive": (200, 205, 215),
}
MARGIN, GAP = 28, 18
WIDTH = 760
"""Least width between the margins."""
PANEL = 300
"""Least width of a slice with its caption."""
INSET, INSET_VOXELS = 240, 64
PLOT_HEIGHT = 240


def render(volume: Volume, result: SeriesResult) -> bytes:
    """The bytes of the PNG that `draw` makes."""
    stream = io.BytesIO()
    made_by = PngInfo()
    made_by.add_text("Software", "tamperscope")  # by which a scan knows its own results
    draw(volume, result).save(stream, format="PNG", pnginfo=made_by)
    return stream.getvalue()


def draw(volume: Volume, result: SeriesResult) -> Image.Image:
    """The picture of one series.

    Args:
        volume: The pixels that were scanned, voxels (D, H, W) or (D, H, W, 3).
        result: What was found in them; its heat map and regions lie on the same grid.

    Returns:
        An RGB image: a header, the plain slice, beside it the slice with heat map and regions if the series is
        suspicious, the strongest region enlarged, and the scores of all slices.
    """
    k = picture.shown_slice(volume, result)
    panels = _panels(volume, result, k)
    width = max(WIDTH, panels.width)
    blocks = [_header(volume, result, k, width), centred(panels, width)]
    if details := _details(volume, result, k, width):
        blocks.append(details)
    blocks.append(text(f"tamperscope · {words.DISCLAIMER}", sized(15, width), FAINT, width))
    page = stack(blocks, GAP)
    canvas = Image.new("RGB", (width + 2 * MARGIN, page.height + 2 * MARGIN), BACKGROUND)
    canvas.paste(page, (MARGIN, MARGIN))
    ImageDraw.Draw(canvas).rectangle((0, 0, 7, canvas.height), fill=_colour(result))
    return canvas


def _colour(result: SeriesResult) -> Colour:
    return VERDICT_COLOURS["suspicious" if result.alarming else result.verdict]


# --- what the picture says ---


def _header(volume: Volume, result: SeriesResult, k: int, width: int) -> Image.Image:
    depth, height, columns = volume.shape
    chance = f"Probability {words.probability(result.probability)}"
    if result.operating_point is not None:
        chance += f" · threshold {words.probability(result.operating_point.threshold)}"
    facts = [f"slice {k + 1} of {depth}"] if depth > 1 else []
    facts += [f"{columns} x {height} pixels", words.millimetres(result)]
    lines = [
        text(words.headline(result), sized(30, width), _colour(result), width),
        text(f"{chance}, {words.false_alarms(result.operating_point)}", sized(19, width), INK, width),
        text(" · ".join([result.modality or "unknown modality", *facts]), sized(17, width), FAINT, width),
    ]
    reasons = result.reasons[1:] if result.verdict == "inconclusive" else result.reasons
    if reasons:
        lines.append(text(" · ".join(reasons), sized(17, width), FAINT, width))
    if result.provenance.state != "absent":
        said = f"Provenance: {words.ORIGINS[result.provenance.state].lower()}. {words.origin(result)}"
        lines.append(text(said, sized(17, width), INK if result.broken else FAINT, width))
    return stack(lines, 6)


def _panels(volume: Volume, result: SeriesResult, k: int) -> Image.Image:
    size = picture.fitted(picture.physical_size(volume, *volume.shape[1:]))
    plain = picture.resized(picture.grey(volume, k), size)
    if result.verdict != "suspicious" or (result.heatmap is None and not result.regions):
        return captioned("The slice as it is", _scaled(plain, volume, result, size[0]), PANEL)
    marked = _marked(plain, volume, result, k)
    caption = "What was found"
    if result.heatmap is not None and result.operating_point is not None:
        caption += "; white outline: threshold"
    blocks = [
        captioned("The slice as it is", _scaled(plain, volume, result, size[0]), PANEL),
        captioned(caption, _scaled(marked, volume, result, size[0]), PANEL),
    ]
    if result.heatmap is not None:
        blocks.append(captioned(" ", _colour_bar(min(max(size[1], 160), 420)), 0))
    return beside(blocks, GAP)


def _details(volume: Volume, result: SeriesResult, k: int, width: int) -> Image.Image | None:
    """The strongest region enlarged, and the scores along the slices."""
    blocks: list[Image.Image] = []
    if result.verdict == "suspicious" and result.regions:
        blocks += _insets(volume, result, max(INSET, width // 5))
    if volume.shape[0] > 1 and result.slices:
        rest = width - sum(block.width + GAP for block in blocks)
        caption = "Score of each slice"
        if result.operating_point is not None:
            caption += "; dashed: threshold"
        blocks.append(captioned(caption, _plot(result, volume.shape[0], k, rest), 0))
    return beside(blocks, GAP) if blocks else None


# --- slices with marks on them ---


def _threshold(result: SeriesResult) -> float:
    return result.operating_point.threshold if result.operating_point is not None else 0.5


def _marked(plain: Image.Image, volume: Volume, result: SeriesResult, k: int) -> Image.Image:
    """The slice with its heat map and a numbered box round each region that it cuts."""
    marked = plain
    if result.heatmap is not None:
        marked = picture.overlaid(plain, result.heatmap[k], _threshold(result))
    marked = marked.copy()
    _, height, width = volume.shape
    scale = (marked.width / width, marked.height / height)
    for number, region in enumerate(result.regions, start=1):
        if region.box_index[0][0] <= k <= region.box_index[1][0]:
            picture.box(marked, region.box_index, str(number), scale)
    return marked


def _insets(volume: Volume, result: SeriesResult, size: int) -> list[Image.Image]:
    """What surrounds the strongest region in its own slice, plain and with the heat map; ``size`` in pixels."""
    region = picture.strongest(result.regions)
    k = min(max(region.centre_index[0], 0), volume.shape[0] - 1)
    rows, columns = _surroundings(volume, region)
    shape = picture.fitted(picture.physical_size(volume, rows[1] - rows[0], columns[1] - columns[0]), size, size)
    crop = picture.grey(volume, k).crop((columns[0], rows[0], columns[1], rows[1]))
    plain = picture.resized(crop, shape)
    name = f"Region {result.regions.index(region) + 1}" + (f", slice {k + 1}" if volume.shape[0] > 1 else "")
    blocks = [captioned(name, _scaled(plain, volume, result, shape[0], columns[1] - columns[0]), size)]
    if result.heatmap is not None:
        heat = result.heatmap[k, rows[0] : rows[1], columns[0] : columns[1]]
        blocks.append(captioned("with heat map", picture.overlaid(plain, heat, _threshold(result)), size))
    return blocks


def _surroundings(volume: Volume, region: Region) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of a square on the patient that holds the region, in a voxel grid of any aspect."""
    _, height, width = volume.shape
    (_, top, left), (_, bottom, right) = region.box_index
    voxel_width, voxel_height = picture.physical_size(volume, 1, 1)
    side = max(INSET_VOXELS, 1.3 * (bottom - top + 1) * voxel_height, 1.3 * (right - left + 1) * voxel_width)
    rows = _around(region.centre_index[1], math.ceil(side / voxel_height), height)
    return rows, _around(region.centre_index[2], math.ceil(side / voxel_width), width)


def _around(centre: int, side: int, length: int) -> tuple[int, int]:
    """A range of ``side`` voxels round ``centre`` that stays inside ``length``."""
    start = min(max(centre - side // 2, 0), max(length - side, 0))
    return start, min(start + side, length)


def _scaled(
    image: Image.Image, volume: Volume, result: SeriesResult, width: int, columns: int | None = None
) -> Image.Image:
    """A copy with a scale bar, if the voxel size is known. ``columns`` voxels lie across ``width`` pixels."""
    image = image.copy()
    if result.spacing_mm is None or volume.geometry == "none":
        return image
    per_mm = width / ((columns or volume.shape[2]) * volume.spacing_mm[2])
    fitting = [mm for mm in (1, 2, 5, 10, 20, 50) if mm * per_mm <= 0.3 * width]
    if not fitting or image.height < 80 or width < 160:
        return image
    bar, x, y = fitting[-1], 14, image.height - 16
    pen = ImageDraw.Draw(image)
    pen.rectangle((x - 2, y - 2, x + round(bar * per_mm) + 2, y + 5), fill=(0, 0, 0))
    pen.rectangle((x, y, x + round(bar * per_mm), y + 3), fill=(255, 255, 255))
    pen.text((x, y - 22), f"{bar} mm", font=font(16), fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))
    return image


# --- legend and plot ---


def _colour_bar(height: int) -> Image.Image:
    """Probability 1 at the top to 0 at the bottom, with numbers; what is not painted is left dark."""
    pad = 10
    image = Image.new("RGB", (64, height), BACKGROUND)
    values = np.linspace(1, 0, height - 2 * pad, dtype=np.float32)
    column = picture.colours(values)
    column[values < picture.FAINTEST] = BACKGROUND
    image.paste(Image.fromarray(np.repeat(column[:, None], 18, axis=1)), (0, pad))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, pad, 17, height - pad - 1), outline=FRAME)
    for value in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y = pad + round((1 - value) * (height - 2 * pad - 1))
        pen.line((18, y, 22, y), fill=FAINT)
        pen.text((27, y), f"{value:.1f}", font=font(14), fill=FAINT, anchor="lm")
    return image


def _plot(result: SeriesResult, depth: int, k: int, width: int) -> Image.Image:
    """Scores from 0 to 1 over the slices; a bar a slice, bright from the threshold on, the shown slice marked."""
    image = Image.new("RGB", (width, PLOT_HEIGHT), BACKGROUND)
    pen = ImageDraw.Draw(image)
    left, right, top, bottom = 34, width - 10, 14, PLOT_HEIGHT - 28
    step = (right - left) / depth

    def height_of(score: float) -> int:
        return bottom - round(min(max(score, 0), 1) * (bottom - top))

    for value in (0.0, 0.5, 1.0):
        pen.line((left, height_of(value), right, height_of(value)), fill=FRAME)
        pen.text((left - 6, height_of(value)), f"{value:.1f}", font=font(14), fill=FAINT, anchor="rm")
    for score in result.slices:
        if np.isfinite(score.score):
            x0, x1 = left + score.index * step, left + (score.index + 1) * step - (1 if step >= 3 else 0)
            over = result.operating_point is not None and score.score >= result.operating_point.threshold
            fill = VERDICT_COLOURS["suspicious"] if over else VERDICT_COLOURS["no_evidence"]
            pen.rectangle((x0, height_of(score.score), max(x0, x1), bottom), fill=fill)
    if result.operating_point is not None:
        y = height_of(result.operating_point.threshold)
        for x in range(left, right, 12):
            pen.line((x, y, min(x + 6, right), y), fill=INK)
    shown = left + (k + 0.5) * step
    pen.polygon([(shown - 5, top - 12), (shown + 5, top - 12), (shown, top - 4)], fill=INK)
    pen.text((left, bottom + 6), "1", font=font(14), fill=FAINT, anchor="la")
    pen.text((right, bottom + 6), str(depth), font=font(14), fill=FAINT, anchor="ra")
    pen.text(((left + right) / 2, bottom + 6), "slice", font=font(14), fill=FAINT, anchor="ma")
    return image
