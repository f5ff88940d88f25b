from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.robustness import grid, row, rows
from tamperscope.evaluate.run import Run


@pytest.fixture(scope="module")
def case():
    chest = phantom.chest((2, 64, 80), (2.5, 2.0, 2.0), np.random.default_rng(1))
    mask = np.zeros(chest.shape, dtype=bool)
    mask[1, 30:36, 40:46] = True
    return Case("c", "p", True, chest, mask, ((1, 33, 43), (0, 2, 2)), {})


@pytest.mark.parametrize("change", grid(), ids=lambda change: change.name)
def test_every_change_changes_the_picture_and_keeps_the_truth(case, change):
    changed = change(case)
    assert changed.volume.shape == changed.mask.shape
    assert changed.mask.any(axis=0).sum() == case.mask.any(axis=0).sum()
    assert np.isfinite(changed.volume.voxels).all()
    if change.family == "crop":
        assert changed.places == ((1, 33 - 6, 43 - 8),), "one place was cut away, the other moved with the picture"
    elif change.family == "re-slice":
        assert all(changed.mask[place] or place[1:] == (2, 2) for place in changed.places)
        assert changed.volume.shape[0] != case.volume.shape[0]
    else:
        assert not np.array_equal(changed.volume.voxels, case.volume.voxels)
        assert changed.places == case.places
    assert np.array_equal(change(case).volume.voxels, changed.volume.voxels), "twice the same"


def test_what_lies_between_slices_does_not_apply_to_a_single_one(case):
    single = replace(case, volume=case.volume.slab(1, 2), mask=case.mask[1:], places=())
    without = [change.name for change in grid() if change(single) is None]
    assert without == ["re-slice pairs averaged", "re-slice half spacing"]


def test_strength_grows_along_a_family(case):
    for family in ("jpeg", "jpeg2000", "noise", "blur"):
        moved = [
            float(np.abs(change(case).volume.voxels - case.volume.voxels).mean())
            for change in grid()
            if change.family == family
        ]
        assert moved == sorted(moved), family


def test_a_film_is_windowed_by_its_own_range(case):
    film = replace(case, volume=phantom.radiograph((64, 80)), mask=np.zeros((1, 64, 80), dtype=bool), places=())
    (window,) = (change for change in grid() if change.family == "8 bit")
    assert len(np.unique(window(film).volume.voxels)) > 100


def test_a_row_says_what_is_left():
    made = [
        Outcome(f"{n}", f"p{n}", n % 2 == 0, {}, score=score, verdict="no_evidence" if n < 2 else "inconclusive")
        for n, score in enumerate((0.9, 0.1, 0.8, 0.2, None, 0.7))
    ]
    found = row("noise 5 HU", Run(tuple(made), (), ("one slice",)), 0.5, 0)
    assert found["auroc"] == pytest.approx(2 * 3 / 9, abs=1e-4)
    assert found["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["false_alarm_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["cleared"] == pytest.approx(1 / 3, abs=1e-4)
    assert (found["refused"], found["series"], found["not_applicable"], found["failed"]) == (1, 6, 1, 0)


def test_the_worst_change_stands_first_and_one_that_applies_to_nothing_last():
    good, bad = (
        Run(tuple(Outcome(f"{n}", f"p{n}", n > 1, {}, score=score, verdict="") for n, score in enumerate(scores)), ())
        for scores in ((0.1, 0.2, 0.8, 0.9), (0.8, 0.9, 0.1, 0.2))
    )
    found = rows(["good", "none left", "bad"], [good, Run((), (), ("a",)), bad], 0.5, 0)
    assert [one["change"] for one in found] == ["bad", "good", "none left"]
