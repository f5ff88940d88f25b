from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generative import check_laws, network
from tamperscope import phantom
from tamperscope.attacks.knee_gan import KneeGan
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

GRAPH = """flat (float[1,64] noise, float[1,1,224,224] grain, int64[1] grades) => (float[1,1,224,224] answer) {
    step = Constant<value_float = 0.1>()
    grade = Cast<to = 1>(grades)
    level = Mul(grade, step)
    texture = Mul(grain, step)
    axes = Constant<value_ints = [0, 1]>()
    mean = ReduceMean<axes = [0, 1], keepdims = 0>(noise)
    offset = Add(level, mean)
    answer = Add(texture, offset)
}"""
"""Grain of strength 0.1 on a level of 0.1 for each grade, moved by the mean of the noise."""
FILM = replace(phantom.radiograph((224, 224), np.random.default_rng(4)), header={"body_part": "KNEE"})
SMALL = replace(phantom.radiograph((64, 56), np.random.default_rng(5)), header={})


@pytest.fixture
def attacks(tmp_path):
    """Two equal attacks, each with a network of its own."""
    return [KneeGan(network=network(tmp_path, "flat", GRAPH)) for _ in range(2)]


def forged(attack, **params):
    drawn = attack.sample(FILM, np.random.default_rng(0)) | {"mirror": False, "truncation": 1.0} | params
    return attack.apply(FILM, drawn).volume.voxels[0]


@pytest.mark.parametrize(
    "volume", [FILM, SMALL, replace(SMALL, photometric="MONOCHROME1")], ids=["224", "64", "negative"]
)
def test_it_obeys_the_laws(attacks, volume):
    check_laws(*attacks, volume)


def test_the_whole_picture_is_another(attacks):
    params = attacks[0].sample(FILM, np.random.default_rng(1))
    forgery = attacks[0].apply(FILM, params)
    assert forgery.mask.mean() > 0.95
    assert forgery.volume.voxels.min() >= FILM.voxels.min()
    assert forgery.volume.voxels.max() <= FILM.voxels.max()


def test_the_grade_and_the_seed_reach_the_network(attacks):
    low, high = (forged(attacks[0], grade=grade).mean() for grade in (0, 4))
    assert high > low
    assert not np.array_equal(forged(attacks[0], seed=1), forged(attacks[0], seed=2))
    narrow = forged(attacks[0], truncation=0.0, grade=0).mean()
    assert narrow != forged(attacks[0], grade=0).mean()


def test_a_stated_grade_is_drawn_always(tmp_path):
    attack = KneeGan(grade=3, network=network(tmp_path, "flat", GRAPH))
    assert {attack.sample(FILM, np.random.default_rng(seed))["grade"] for seed in range(5)} == {3}


def test_another_modality_is_refused_by_both_halves(attacks):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    chest = phantom.chest((1, 64, 64))
    with pytest.raises(AttackError, match="knee-gan is made for radiographs"):
        attacks[0].sample(chest, np.random.default_rng(0))
    with pytest.raises(AttackError, match="knee-gan is made for radiographs"):
        attacks[0].apply(chest, params)


@pytest.mark.parametrize(("wrong", "message"), [({"grade": 5}, "grade 5"), ({"network": "0" * 64}, "made with flat")])
def test_a_record_that_does_not_fit_is_refused(attacks, wrong, message):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    with pytest.raises(AttackError, match=message):
        attacks[0].apply(FILM, params | wrong)
