"""The worst misses and false alarms as pictures: the slice in question, the true place, and what the model saw."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from tamperscope.datasets.cases import Case
from tamperscope.evaluate.outcomes import Outcome, Tested
from tamperscope.records import Evidence, Volume
from tamperscope.report import picture
from tamperscope.report.blocks import BACKGROUND, FAINT, INK, beside, captioned, stack, text

MARGIN, GAP = 28, 18
PANEL = 420
"""Longer side of a slice in pixels, and its least width with a caption."""
TRUTH = (120, 230, 140)
PLACE_MM = 32.0
"""Side of the box round a place that has no mask: that of the cube which CT-GAN pastes."""


def worst(outcomes: Iterable[Outcome], count: int) -> list[Outcome]:
    """The forged series with the lowest scores, then the authentic ones with the highest, ``count`` of each."""
    answered = [(one.score, one) for one in outcomes if one.score is not None]
    ordered = [one for _, one in sorted(answered, key=lambda pair: (pair[0], pair[1].name))]
    missed = [one for one in ordered if one.forged and one.verdict != "suspicious"]
    alarms = [one for one in reversed(ordered) if not one.forged and one.verdict != "no_evidence"]
    return [*missed[:count], *alarms[:count]]


def title(one: Outcome) -> str:
    """What a picture is called."""
    alarm = "false alarm" if one.verdict == "suspicious" else "authentic, not cleared"
    kind = "missed" if one.forged else alarm
    made = one.groups.get("generator", "") if one.forged else ""
    return ", ".join(part for part in (f"{kind}: {one.name}", made, f"probability {one.score or 0.0:.3f}") if part)


def draw(case: Case, one: Outcome, tested: Tested) -> Image.Image:
    """An RGB picture of a case that was answered wrongly; the model looks at it again for its heat map.

    The slice is the one that changed most where a forgery was missed, and the one with the highest score else. The true
    place is boxed; a model that gives a map has it in a second panel.
    """
    evidence = tested.judge(case.volume)
    k = shown_slice(case, evidence)
    size = picture.fitted(picture.physical_size(case.volume, *case.volume.shape[1:]), PANEL, 2 * PANEL)
    plain = picture.resized(picture.grey(case.volume, k), size)
    panels = [captioned("The forged place" if case.forged else "The slice", _marked(plain, case, k), PANEL)]
    if evidence.heatmap is not None:
        heat = picture.overlaid(plain, evidence.heatmap[k], tested.threshold)
        panels.append(captioned("What the model saw; white outline: threshold", _marked(heat, case, k), PANEL))
    body = beside(panels, GAP)
    page = stack([*_header(case, one, evidence, k, tested.threshold, body.width), body], GAP)
    canvas = Image.new("RGB", (page.width + 2 * MARGIN, page.height + 2 * MARGIN), BACKGROUND)
    canvas.paste(page, (MARGIN, MARGIN))
    return canvas


def shown_slice(case: Case, evidence: Evidence) -> int:
    """Where most was changed, or the first stated place; else where the model says most; else the middle."""
    depth = case.volume.shape[0]
    if case.forged and case.mask is not None and case.mask.any():
        return int(case.mask.sum(axis=(1, 2)).argmax())
    if case.forged and case.places:
        return min(max(case.places[0][0], 0), depth - 1)
    if len(evidence.slice_scores) == depth:
        return int(np.argmax(evidence.slice_scores))
    return depth // 2 if evidence.heatmap is None else int(evidence.heatmap.max(axis=(1, 2)).argmax())


def _header(case: Case, one: Outcome, evidence: Evidence, k: int, threshold: float, width: int) -> list[Image.Image]:
    facts = [case.volume.modality or "unknown modality"]
    if (depth := case.volume.shape[0]) > 1:
        facts.append(f"slice {k + 1} of {depth}")
    if len(evidence.slice_scores) == depth and depth > 1:
        facts.append(f"score of this slice {evidence.slice_scores[k]:.3f}")
    if case.forged and case.mask is None and not case.places:
        facts.append("nobody states the place")
    if evidence.heatmap is None:
        facts.append("the model gives no map")
    answer = f"probability {one.score or 0.0:.3f}, suspicious from {threshold:.3f} on"
    return [text(answer, 22, INK, width), text(" · ".join(facts), 16, FAINT, width)]


def _marked(image: Image.Image, case: Case, k: int) -> Image.Image:
    """With a box round what was changed in the slice, or round each place that is stated in it."""
    image = image.copy()
    _, height, width = case.volume.shape
    scale = image.width / width, image.height / height
    for corners in _true_places(case, k):
        picture.box(image, corners, "forged", scale, TRUTH)
    return image


def _true_places(case: Case, k: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    if not case.forged:
        return []
    if case.mask is not None and case.mask[k].any():
        rows, columns = (np.flatnonzero(case.mask[k].any(axis=axis)) for axis in (1, 0))
        return [((k, int(rows[0]), int(columns[0])), (k, int(rows[-1]), int(columns[-1])))]
    return [_round(case.volume, k, j, i) for place, j, i in case.places if place == k]


def _round(volume: Volume, k: int, j: int, i: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    down, across = (round(PLACE_MM / 2 / mm) for mm in volume.spacing_mm[1:])
    return (k, j - down, i - across), (k, j + down, i + across)
