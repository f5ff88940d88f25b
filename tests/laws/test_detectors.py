"""What every detector obeys; see `tamperscope.detectors.detector`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tamperscope import detectors, phantom, verdict
from tamperscope.calibrate import calibrated
from tamperscope.inputs import CtInput
from tamperscope.records import Evidence, Volume
from tamperscope.verdict import Policy
from tamperscope.weights import Card

CARDS = {card.name: card for card in detectors.packaged_cards()}
CT_PLANE = (2.5, 0.9, 0.9)


def fitting(card: Card) -> Volume:
    """An ordinary picture of the kind that the Card may judge."""
    return chest() if isinstance(card.input, CtInput) else phantom.knee((300, 260), np.random.default_rng(1))


every_detector = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())


def chest(shape: tuple[int, int, int] = (2, 384, 384), seed: int = 1) -> Volume:
    return phantom.chest(shape, CT_PLANE, np.random.default_rng(seed))


def holding(voxels: np.ndarray, modality: str = "CT", **changes) -> Volume:
    """``voxels`` (D, H, W) or (D, H, W, 3) in the frame of a CT of 0.9 mm."""
    depth = len(voxels)
    frame = {"sources": ("slice",) * depth, "sop_instance_uids": (None,) * depth, "modality": modality} | changes
    return replace(phantom.chest((1, 8, 8), CT_PLANE), voxels=voxels.astype(np.float32), **frame)


def noise(kind: str, shape: tuple[int, int, int] = (2, 384, 384)) -> np.ndarray:
    rng = np.random.default_rng(9)
    if kind == "uniform":
        return rng.uniform(-1024, 3071, shape)
    if kind == "Gaussian":
        return rng.normal(-400, 500, shape).clip(-1024, 3071)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, shape), (0, int(kind), int(kind)))
    return (smooth / smooth.std() * 500 - 300).clip(-1024, 3071)


def head() -> np.ndarray:
    """A skull with a brain in it: air, bone and soft tissue, but no lung."""
    y, x = np.mgrid[-192:192, -192:192]
    radius = np.hypot(x / 80, y / 100)
    plane = np.select([radius < 0.9, radius < 1.0, radius < 1.06], [35.0, 1100.0, 0.0], -1000.0)
    return plane + np.random.default_rng(2).normal(0, 8, (3, 384, 384))


def photo(shape: tuple[int, ...] = (1, 300, 400, 3)) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.round(ndimage.gaussian_filter(rng.uniform(0, 255, shape), (0, 9, 9, 0)[: len(shape)]))


STRANGERS = {
    "colour photo": holding(photo(), "OT", format="picture", geometry="none"),
    "grey photo": holding(photo()[..., 0], "OT", format="picture", geometry="none"),
    "colour photo called CT": holding(photo(), "CT", geometry="none"),
    "colour CT": holding(np.repeat(chest((1, 300, 300)).voxels[..., None], 3, axis=3)),
    "ultrasound": holding(photo((4, 300, 400, 3)), "US", geometry="none"),
    "MR": holding(np.random.default_rng(1).gamma(2.0, 150.0, (3, 256, 256)), "MR"),
    "radiograph": phantom.radiograph((256, 256)),
    "uniform noise": holding(noise("uniform")),
    "Gaussian noise": holding(noise("Gaussian")),
    **{f"noise smoothed by {sigma}": holding(noise(str(sigma))) for sigma in (1, 2, 4, 8, 16)},
    "head": holding(head()),
    "constant air": holding(np.full((2, 384, 384), -1000.0)),
    "constant lung": holding(np.full((2, 384, 384), -850.0)),
    "constant water": holding(np.zeros((2, 384, 384))),
    "one voxel": holding(np.full((1, 1, 1), 40.0)),
    "seven by five": holding(np.full((1, 5, 7), 40.0)),
    "CT without spacing": replace(chest((1, 384, 384)), geometry="none"),
    "stored values": holding(chest((1, 384, 384)).voxels + 1024),
}
SMALL = {
    "one voxel": (1, 1, 1),
    "one row": (1, 1, 64),
    "five by seven": (1, 5, 7),
    "a body of a few cells": (2, 13, 19),
    "one slice": (1, 64, 52),
    "many thin slices": (9, 24, 24),
}


def lenient(card: Card) -> Card:
    """The same detector under a contract that takes everything, so that its arithmetic meets the odd volumes."""
    anything = (0.0, 1e9)
    if not isinstance(card.input, CtInput):
        return replace(card, input=replace(card.input, least_side=1, aspect=1e9, likeness=-2.0))
    taking = replace(
        card.input,
        spacing_mm=anything,
        slice_mm=anything,
        noise_hu=anything,
        grain=anything,
        matrix=(1, 10**6),
        lung_share=0.0,
    )
    return replace(card, input=taking)


def taken(card: Card, voxels: np.ndarray) -> tuple[np.ndarray, str]:
    """Voxels and the modality as which the Card takes them: radiographs have one slice."""
    return (voxels, "CT") if isinstance(card.input, CtInput) else (voxels[:1], "DX")


def check_whole(evidence: Evidence, volume: Volume) -> None:
    """Either a finite score with all that belongs to it, or none with a reason in plain words."""
    if evidence.score is None:
        assert evidence.heatmap is None
        assert evidence.slice_scores == ()
        assert evidence.reasons
        assert all(len(reason.split()) >= 4 and "\n" not in reason for reason in evidence.reasons)
        return
    assert np.isfinite(evidence.score)
    assert evidence.heatmap.shape == volume.shape
    assert evidence.heatmap.dtype == np.float32
    assert np.isfinite(evidence.heatmap).all()
    assert len(evidence.slice_scores) == volume.shape[0]
    assert evidence.score == max(evidence.slice_scores)
    assert evidence.places >= 1.0
    assert evidence.probability is None


@pytest.fixture(scope="module")
def judged() -> dict[str, tuple[Volume, Evidence]]:
    """What each detector says of one ordinary picture."""
    found = {}
    for name, card in CARDS.items():
        volume = fitting(card)
        found[name] = volume, detectors.from_card(card, threads=1).detect(volume)
    return found


def test_there_are_detectors_and_the_network_decides():
    assert CARDS
    files = [card.file is None for card in CARDS.values()]
    assert files == sorted(files), "networks come before the classical detector"


@every_detector
def test_an_ordinary_picture_is_judged_with_a_score_for_each_slice_and_pixel(card, judged):
    volume, evidence = judged[card.name]
    assert evidence.detector == card.name
    assert evidence.score is not None, evidence.reasons
    check_whole(evidence, volume)


@every_detector
def test_the_score_has_its_place_in_the_heat_map(card, judged):
    _, evidence = judged[card.name]
    assert [float(plane.max()) for plane in evidence.heatmap] == list(evidence.slice_scores)


@every_detector
def test_the_same_input_gives_the_same_evidence_and_is_not_changed(card, judged):
    volume, first = judged[card.name]
    before = volume.voxels.copy()
    detector = detectors.from_card(card, threads=1)
    for again in (detector.detect(volume), detector.detect(volume)):
        assert again.score == first.score
        assert again.slice_scores == first.slice_scores
        assert again.places == first.places
        assert np.array_equal(again.heatmap, first.heatmap)
    assert np.array_equal(volume.voxels, before)


@every_detector
def test_threads_do_not_change_the_answer(card, judged):
    volume, one = judged[card.name]
    two = detectors.from_card(card, threads=2).detect(volume)
    assert two.score == pytest.approx(one.score, abs=1e-3)
    assert two.slice_scores == pytest.approx(one.slice_scores, abs=1e-3)
    assert np.allclose(two.heatmap, one.heatmap, atol=1e-3)


@every_detector
def test_read_only_voxels_are_enough(card, judged):
    volume, first = judged[card.name]
    locked = volume.voxels.copy()
    locked.flags.writeable = False
    assert detectors.from_card(card, threads=1).detect(replace(volume, voxels=locked)).score == first.score


@every_detector
@pytest.mark.parametrize("volume", STRANGERS.values(), ids=STRANGERS.keys())
def test_what_it_was_not_made_for_gets_a_reason_and_no_score(card, volume):
    before = volume.voxels.copy()
    evidence = detectors.from_card(card, threads=1).detect(volume)
    assert np.array_equal(volume.voxels, before)
    assert evidence.score is None
    check_whole(evidence, volume)
    answer = verdict.decide(volume, [calibrated(evidence, card.calibration)], card.calibration, Policy())
    assert answer.label == "inconclusive"
    assert answer.probability is None
    assert answer.reasons == evidence.reasons


@every_detector
@pytest.mark.parametrize("level", [None, 40.0, -850.0], ids=["phantom", "constant tissue", "constant lung"])
@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL.keys())
def test_small_and_constant_volumes_stay_finite_even_where_the_contract_takes_them(card, shape, level):
    voxels = phantom.chest(shape, CT_PLANE).voxels if level is None else np.full(shape, level)
    voxels[0, 0, 0] = -1000.0
    volume = holding(*taken(card, voxels))
    check_whole(detectors.from_card(lenient(card), threads=1).detect(volume), volume)


@every_detector
@pytest.mark.parametrize("size", [48, 64])
def test_a_block_of_tissue_without_any_noise_is_judged_finitely(card, size):
    voxels = np.full((2, size, size), -1000.0)
    voxels[:, 8:-8, 8:-8] = 40.0
    voxels[:, 20:28, 20:28] = -850.0
    volume = holding(*taken(card, voxels))
    evidence = detectors.from_card(lenient(card), threads=1).detect(volume)
    assert evidence.score is not None or not isinstance(card.input, CtInput), evidence.reasons
    check_whole(evidence, volume)


@every_detector
def test_a_slice_of_the_volume_is_a_volume_too(card):
    whole = fitting(card)
    volume = whole.slab(whole.shape[0] - 1, whole.shape[0])
    evidence = detectors.from_card(card, threads=1).detect(volume)
    assert evidence.score is not None, evidence.reasons
    check_whole(evidence, volume)
