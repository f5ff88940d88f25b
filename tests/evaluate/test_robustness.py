from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.robustness import grid, row


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
    assert changed.mask.sum() == case.mask.sum()
    assert np.isfinite(changed.volume.voxels).all()
    if change.family == "crop":
        assert changed.places == ((1, 33 - 6, 43 - 8),), "one place was cut away, the other moved with the picture"
    else:
        assert not np.array_equal(changed.volume.voxels, case.volume.voxels)
        assert changed.places == case.places
    assert np.array_equal(change(case).volume.voxels, changed.volume.voxels), "twice the same"


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
        Outcome(f"{n}", f"p{n}", n % 2 == 0, {}, score=score, verdict="")
        for n, score in enumerate((0.9, 0.1, 0.8, 0.2, None, 0.7))
    ]
    found = row("noise 5 HU", made, 0.5, 0)
    assert found["auroc"] == pytest.approx(2 * 3 / 9, abs=1e-4)
    assert found["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["false_alarm_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["refused"] == 1
