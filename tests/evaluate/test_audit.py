from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra [train] is not installed")

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.detectors import from_card, packaged_cards
from tamperscope.evaluate import outcomes
from tamperscope.evaluate.audit import in_words, of_model, pair_scores, probes, traits, twin_of


def case(number: int, *, forged: bool) -> Case:
    """A slice of one of ten patients; the forged one differs from its twin in a square."""
    chest = phantom.chest((1, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(number))
    mask = np.zeros(chest.shape, dtype=bool)
    if forged:
        mask[0, 60:66, 80:86] = True
        chest = replace(chest, voxels=np.where(mask, chest.voxels + 100.0, chest.voxels).astype(np.float32))
    return Case(f"{number}-{forged}", f"p{number}", forged, chest, mask, (), {})


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case(number, forged=forged) for number in range(12) for forged in (True, False)]


def judged(cases):
    return probes([traits(one) for one in cases], [one.forged for one in cases], [one.patient for one in cases])


def test_twins_differ_by_the_forgery_alone_and_no_probe_sees_it(cases):
    rows = judged(cases)
    assert [row["check"] for row in rows] == ["header only", "histogram only", "background only"]
    assert not any(row["shortcut"] for row in rows), rows
    assert all("no shortcut seen" in words for words in in_words(rows))


def test_a_header_that_differs_between_the_classes_is_found(cases):
    exported = [
        replace(one, volume=replace(one.volume, header={"manufacturer": "TOOL"})) if one.forged else one
        for one in cases
    ]
    header, histogram, _ = judged(exported)
    assert header["auroc"] == 1.0
    assert header["shortcut"]
    assert not histogram["shortcut"]
    assert "wrong reason" in in_words([header])[0]


def test_a_contrast_recipe_of_one_class_is_found(cases):
    recipe = [
        replace(one, volume=replace(one.volume, voxels=one.volume.voxels * np.float32(1.1))) if one.forged else one
        for one in cases
    ]
    assert judged(recipe)[1]["shortcut"]


def test_too_few_series_say_nothing(cases):
    rows = judged(cases[:6])
    assert [row["auroc"] for row in rows] == [None, None, None]
    assert "too few" in in_words(rows)[0]


def test_forgeries_find_their_twins_and_the_model_is_asked_with_the_place_blanked_too(cases):
    authentic = [one for one in cases if not one.forged]
    forged = cases[0]
    twin = twin_of(forged, authentic)
    assert (twin.patient, twin.forged) == (forged.patient, False)
    assert twin_of(forged, authentic[1:]) is None
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    refused = pair_scores(forged, twin, tested)
    assert refused is None, "the model refuses a matrix of 128"
    rows = of_model([((0.9, 0.2), (0.3, 0.3)), ((0.8, 0.1), (0.4, 0.4))])
    assert [row["auroc"] for row in rows] == [1.0, 0.5]
    assert in_words(rows) == ["forgery against its twin: AUROC 1.0.", "the same with the place blanked: AUROC 0.5."]
    assert "something else" in in_words(of_model([((0.9, 0.2), (0.8, 0.3))]))[1]


def test_a_blanked_place_holds_nothing_of_the_forgery():
    chest = phantom.chest((2, 320, 320), (2.5, 1.0, 1.0), np.random.default_rng(3))
    mask = np.zeros(chest.shape, dtype=bool)
    mask[0, 120:126, 180:184] = mask[0, 124:130, 182:190] = True
    forged = replace(chest, voxels=np.where(mask, chest.voxels + 300.0, chest.voxels).astype(np.float32))
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    tested = outcomes.Tested(card.name, from_card(card), card.calibration)
    made = [Case(str(n), "p", n == 0, one, mask, (), {}) for n, one in enumerate((forged, chest))]
    (plain, blanked) = pair_scores(*made, tested)
    assert blanked[0] == blanked[1]
    assert plain[0] != plain[1]
