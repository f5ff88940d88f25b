from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra [train] is not installed")

from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.detectors import from_card, packaged_cards
from tamperscope.evaluate import outcomes
from tamperscope.evaluate.audit import Battery, blanked_row, blanked_scores, in_words, probes, traits, twin_of
from tamperscope.records import Volume


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


def film(number: int, *, forged: bool, bright: int = 0) -> Case:
    """A whole picture of eight bits, made or not, of 24 patients."""
    values = np.random.default_rng(2 * number + forged).permutation(np.arange(256) // 2 + bright)
    voxels = values.reshape(1, 16, 16).astype(np.float32)
    picture = Volume(voxels, np.eye(4), "DX", "picture", "none", bits_stored=8)
    return Case(f"{number}-{forged}", f"p{number}", forged, picture, np.full(voxels.shape, forged), (), {})


def test_pictures_that_were_made_as_a_whole_are_probed_by_what_was_made():
    films = [film(number, forged=forged) for number in range(12) for forged in (True, False)]
    assert not any(row["shortcut"] for row in judged(films)), "all have one histogram"
    films = [film(number, forged=forged, bright=20 * forged) for number in range(12) for forged in (True, False)]
    assert judged(films)[1]["shortcut"]


def test_too_few_series_say_nothing(cases):
    rows = judged(cases[:6])
    assert [row["auroc"] for row in rows] == [None, None, None]
    assert "too few" in in_words(rows)[0]


def noise_model() -> outcomes.Tested:
    card = next(card for card in packaged_cards() if card.name == "ct-noise")
    return outcomes.Tested(card.name, from_card(card), card.calibration)


def test_forgeries_find_their_twins_and_are_held_against_them(cases):
    authentic = [one for one in cases if not one.forged]
    forged = cases[0]
    twin = twin_of(forged, authentic)
    assert (twin.patient, twin.forged) == (forged.patient, False)
    assert twin_of(forged, authentic[1:]) is None
    battery = Battery(noise_model(), {one.name: 0.9 if one.forged else 0.2 for one in cases})
    for one in sorted(cases, key=lambda one: (one.patient, one.forged)):
        battery.add(one)
    twins, blanked = battery.of_model()
    assert (twins["auroc"], twins["above"], twins["pairs"]) == (1.0, 1.0, 12)
    assert (blanked["above"], blanked["pairs"], blanked["identical"]) == (None, 0, 12)
    said = in_words([twins, blanked])
    assert "100% of 12 forgeries" in said[0]
    assert "no pixel beside the place" in said[1]


def test_a_refused_series_is_no_pair_and_a_set_without_twins_says_so(cases):
    battery = Battery(noise_model(), {cases[0].name: None, cases[1].name: 0.1})
    battery.add(cases[1])
    battery.add(cases[0])
    assert battery.twins == []
    alone = Battery(noise_model(), {})
    alone.add(cases[0])
    said = in_words(alone.of_model())
    assert "no forgery with its exact twin" in said[0]
    assert "no forgery with a mask" in said[1]


def chests(*, whole: float) -> tuple[Case, Case]:
    """Forgery and an authentic series of twelve slices; ``whole`` is added to the forged one, as another writer may."""
    chest = phantom.chest((12, 320, 320), (2.5, 1.0, 1.0), np.random.default_rng(3))
    mask = np.zeros(chest.shape, dtype=bool)
    mask[7, 120:126, 180:184] = mask[7, 124:130, 182:190] = True
    forged = replace(chest, voxels=np.where(mask, chest.voxels + 300.0, chest.voxels).astype(np.float32) + whole)
    return Case("f", "p", True, forged, mask, (), {}), Case("a", "p", False, chest, np.zeros_like(mask), (), {})


def test_a_blanked_place_holds_nothing_of_the_forgery():
    one, other = blanked_scores(*chests(whole=0.0), noise_model())
    assert one == other


def test_without_an_exact_twin_the_blanked_slices_are_judged():
    forged, authentic = chests(whole=1.0)
    battery = Battery(noise_model(), {})
    battery.add(authentic)
    battery.add(forged)
    (pair,) = battery.blanked
    assert battery.identical == 0
    assert all(0.0 <= one <= 1.0 for one in pair)


def test_pairs_that_the_model_tells_apart_with_the_place_blanked_are_a_shortcut():
    found = blanked_row([(0.9, 0.2), (0.8, 0.3)], 0)
    assert found["above"] == 1.0
    assert "something else" in in_words([found])[0]
    assert "does not tell forged from authentic" in in_words([blanked_row([(0.9, 0.2), (0.2, 0.3)], 0)])[0]
    many = blanked_row([(0.9, 0.2)] * 24, 137)
    assert (many["above"], many["pairs"], many["identical"]) == (1.0, 24, 137), "twins do not drown what was judged"
    assert "something else" in in_words([many])[0]


def test_a_long_scan_is_seen_through_some_of_its_slices():
    _, authentic = chests(whole=0.0)
    long = replace(authentic, volume=replace(authentic.volume, voxels=np.repeat(authentic.volume.voxels, 4, axis=0)))
    long = replace(long, mask=np.zeros(long.volume.shape, dtype=bool))
    seen = traits(long)
    assert seen.header["slices"] == 48
    assert seen.histogram.sum() == pytest.approx(1.0)
    assert seen.background.sum() == pytest.approx(1.0)
