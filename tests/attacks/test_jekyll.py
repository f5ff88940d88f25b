from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generative import check_laws, network
from tamperscope import phantom
from tamperscope.attacks.jekyll import LEAST_CHANGE, TARGETS, Jekyll
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

GRAPH = """band (float[1,1,224,224] pictures, int64[1] classes) => (float[1,1,224,224] answer) {
    least = Constant<value_float = 0.3>()
    step = Constant<value_float = 0.1>()
    faint = Constant<value_float = 0.006>()
    wanted = Cast<to = 1>(classes)
    bright = Greater(pictures, least)
    where = Cast<to = 1>(bright)
    level = Mul(wanted, step)
    change = Mul(where, level)
    answer = Add(change, faint)
}"""
"""Adds 0.1 to what is bright if the target is diseased, and 0.006, too little to count, everywhere."""


def eight_bits(shape: tuple[int, int]):
    film = phantom.radiograph(shape, np.random.default_rng(4))
    voxels = np.clip(np.rint(film.voxels / 12.0), 0, 255)
    return replace(film, voxels=voxels, bits_stored=8, modality="OT", header={})


FILM = eight_bits((224, 224))
TWELVE_BITS = replace(phantom.radiograph((80, 64), np.random.default_rng(5)), header={"body_part": "KNEE"})


@pytest.fixture
def attacks(tmp_path):
    """Two equal attacks, each with a network of its own."""
    return [Jekyll(network=network(tmp_path, "band", GRAPH)) for _ in range(2)]


def forge(attack, volume, **params):
    at = params.pop("at", None)
    return attack.apply(volume, attack.sample(volume, np.random.default_rng(0), at) | params)


@pytest.mark.parametrize(
    "volume",
    [FILM, TWELVE_BITS, replace(TWELVE_BITS, photometric="MONOCHROME1"), eight_bits((300, 120))],
    ids=["eight bits", "twelve bits", "negative", "long"],
)
def test_it_obeys_the_laws(attacks, volume):
    check_laws(*attacks, volume)


def test_only_what_the_network_changes_by_enough_is_changed(attacks):
    seen = FILM.voxels / 127.5 - 1.0
    forgery = forge(attacks[0], FILM, target="diseased", gain=1.0)
    assert np.array_equal(forgery.mask, (seen > 0.3) & (FILM.voxels < 255)), "white cannot become whiter"
    change = (forgery.volume.voxels - FILM.voxels)[forgery.mask & (FILM.voxels < 240)]
    assert change == pytest.approx(127.5 * 0.106, abs=0.51)


def test_a_change_too_small_to_count_leaves_the_picture_as_it_was(attacks):
    assert LEAST_CHANGE > 0.006 / 2
    forgery = forge(attacks[0], FILM, target="healthy", gain=1.0)
    assert not forgery.mask.any()
    assert np.array_equal(forgery.volume.voxels, FILM.voxels)


def test_the_pixels_of_another_size_keep_their_detail(attacks):
    large = eight_bits((448, 448))
    forgery = forge(attacks[0], large, target="diseased", gain=1.0)
    change = forgery.volume.voxels - large.voxels
    assert forgery.mask.any()
    assert np.abs(change).max() <= 127.5 * 0.106 * 1.3, "no pixel of the enlarged network's view is pasted"


def test_it_works_in_the_square_round_the_place(attacks):
    wide = eight_bits((120, 300))
    forgery = forge(attacks[0], wide, target="diseased", at=(0, 60, 70))
    assert forgery.record["params"]["side"] == 120
    assert forgery.mask[:, :, 10:130].any()
    assert not forgery.mask[:, :, 130:].any()


def test_values_go_the_other_way_where_low_ones_are_white(attacks):
    negative = replace(FILM, voxels=255.0 - FILM.voxels, photometric="MONOCHROME1")
    change = forge(attacks[0], negative, target="diseased", gain=1.0).volume.voxels - negative.voxels
    upright = forge(attacks[0], FILM, target="diseased", gain=1.0).volume.voxels - FILM.voxels
    assert np.array_equal(change, -upright)


def test_the_target_is_drawn_or_stated(attacks):
    assert {attacks[0].sample(FILM, np.random.default_rng(seed))["target"] for seed in range(9)} == set(TARGETS)
    stated = replace(attacks[0], target="healthy")
    assert stated.name == "jekyll-healthy"
    assert attacks[0].name == "jekyll"
    assert {stated.sample(FILM, np.random.default_rng(seed))["target"] for seed in range(9)} == {"healthy"}


@pytest.mark.parametrize("at", [(1, 0, 0), (0, 224, 0), (0, 0, -1)])
def test_a_place_outside_is_refused_by_both_halves(attacks, at):
    with pytest.raises(AttackError, match="outside"):
        attacks[0].sample(FILM, np.random.default_rng(0), at)
    with pytest.raises(AttackError, match="outside"):
        forge(attacks[0], FILM, centre=list(at))


def test_another_modality_is_refused_by_both_halves(attacks):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    chest = phantom.chest((1, 64, 64))
    with pytest.raises(AttackError, match="jekyll is made for radiographs"):
        attacks[0].sample(chest, np.random.default_rng(0))
    with pytest.raises(AttackError, match="jekyll is made for radiographs"):
        attacks[0].apply(chest, params)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"target": "4"}, "target '4'"), ({"network": "0" * 64}, "made with band")]
)
def test_a_record_that_does_not_fit_is_refused(attacks, wrong, message):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    with pytest.raises(AttackError, match=message):
        attacks[0].apply(FILM, params | wrong)
