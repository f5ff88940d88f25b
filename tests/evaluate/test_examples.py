from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.evaluate import outcomes
from tamperscope.evaluate.baseline import PlattCurve
from tamperscope.evaluate.examples import TRUTH, draw, shown_slice, title, worst
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.records import Evidence, Volume


@dataclass
class Says:
    """A detector whose answer is known: slice 0 is the worst, and a map if it has one."""

    mapped: bool
    name: str = "says"

    def detect(self, volume: Volume) -> Evidence:
        scores = tuple(float(-k) for k in range(volume.shape[0]))
        heat = np.zeros(volume.shape, dtype=np.float32) if self.mapped else None
        return Evidence(self.name, 0.0, heatmap=heat, slice_scores=scores)


@pytest.fixture
def case():
    chest = phantom.chest((4, 64, 64), (2.5, 3.0, 3.0), np.random.default_rng(0))
    mask = np.zeros(chest.shape, dtype=bool)
    mask[2, 20:30, 40:50] = True
    return Case("set/p/s", "p", True, chest, mask, ((1, 25, 45),), {})


def model(*, mapped: bool) -> outcomes.Tested:
    return outcomes.Tested("says", Says(mapped), PlattCurve(1.0, 0.0, tuple(np.linspace(-3.0, 0.0, 30))))


def green(drawn: Image.Image) -> int:
    return int((np.asarray(drawn) == TRUTH).all(axis=2).sum())


def outcome(*, forged: bool, score: float | None = 0.2, verdict: str = "no_evidence", name: str = "n") -> Outcome:
    return Outcome(name, "p", forged, {"generator": "knife"}, score, verdict)


def test_the_slice_that_was_forged_is_shown_or_the_one_that_the_model_accuses(case):
    evidence = Says(mapped=False).detect(case.volume)
    assert shown_slice(case, evidence) == 2
    assert shown_slice(replace(case, mask=None), evidence) == 1
    assert shown_slice(replace(case, mask=None, places=()), evidence) == 0
    assert shown_slice(replace(case, forged=False), evidence) == 0
    assert shown_slice(replace(case, forged=False), replace(evidence, slice_scores=())) == 2
    heat = np.zeros(case.volume.shape, dtype=np.float32)
    heat[3] = 1.0
    assert shown_slice(replace(case, forged=False), replace(evidence, slice_scores=(), heatmap=heat)) == 3


def test_the_true_place_is_boxed_and_the_map_stands_beside_it(case):
    plain = draw(case, outcome(forged=True), model(mapped=False))
    both = draw(case, outcome(forged=True), model(mapped=True))
    assert both.width > 1.8 * plain.width
    assert 100 < green(plain) < green(both), "in both panels"
    authentic = draw(replace(case, forged=False), outcome(forged=False, verdict="suspicious"), model(mapped=True))
    assert green(authentic) == 0


def test_a_place_without_a_mask_and_one_at_the_edge_are_boxed_too(case):
    corner = replace(case, mask=None, places=((1, 0, 63),))
    assert green(draw(corner, outcome(forged=True), model(mapped=False))) > 50
    draw(replace(case, mask=None, places=()), outcome(forged=True), model(mapped=False))


def test_the_lowest_forgeries_and_the_highest_authentic_ones_come_first_and_refusals_do_not():
    made = [
        outcome(forged=True, score=0.3, name="b"),
        outcome(forged=True, score=0.1, name="a"),
        outcome(forged=True, score=0.9, verdict="suspicious", name="found"),
        outcome(forged=True, score=None, verdict="inconclusive", name="refused"),
        outcome(forged=False, score=0.6, verdict="inconclusive", name="c"),
        outcome(forged=False, score=0.8, verdict="suspicious", name="d"),
        outcome(forged=False, score=0.1, name="fine"),
    ]
    assert [one.name for one in worst(made, 5)] == ["a", "b", "d", "c"]
    assert [one.name for one in worst(made, 1)] == ["a", "d"]
    assert title(made[1]) == "missed: a, knife, probability 0.100"
    assert title(made[5]) == "false alarm: d, probability 0.800"
