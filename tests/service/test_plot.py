from dataclasses import replace

import pytest

from tamperscope.records import OperatingPoint, Provenance, SeriesResult, SliceScore
from tamperscope.service import plot

RESULT = SeriesResult(
    series_uid=None,
    modality="CT",
    files=(),
    shape=(6, 8, 8),
    spacing_mm=None,
    verdict="suspicious",
    probability=0.9,
    operating_point=OperatingPoint(0.01, 0.5),
    slices=tuple(SliceScore(k, "", None, score) for k, score in enumerate((0.1, 0.6, 0.9, 0.2, float("nan"), 0.5))),
    regions=(),
    evidence=(),
    provenance=Provenance("absent"),
    reasons=(),
)


def test_neighbouring_slices_above_the_threshold_are_one_target_at_their_highest():
    found = plot.scores(RESULT)
    assert found is not None
    assert [(run.first, run.last, run.peak) for run in found.runs] == [(1, 2, 2), (5, 5, 5)]
    assert [bar.above for bar in found.bars] == [False, True, True, False, False, True]
    assert found.line == pytest.approx(50)


def test_bars_stay_within_the_drawing_and_do_not_touch():
    found = plot.shares([0.0, 1.0, 2.0, -1.0])
    assert all(0 <= bar.y <= plot.HEIGHT and 0 <= bar.height <= plot.HEIGHT for bar in found.bars)
    assert all(a.x + a.width < b.x for a, b in zip(found.bars, found.bars[1:], strict=False))
    assert found.bars[-1].x + found.bars[-1].width <= plot.WIDTH
    assert found.runs == ()


def test_nothing_is_drawn_of_one_slice_or_of_none():
    assert plot.scores(replace(RESULT, slices=RESULT.slices[:1])) is None
    assert plot.scores(replace(RESULT, slices=())) is None
