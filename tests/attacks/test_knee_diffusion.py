from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generative import check_laws, network
from tamperscope import phantom
from tamperscope.attacks.knee_diffusion import KneeDiffusion
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

GAUSSIAN = """gaussian (float[1,1,56,56] noisy, float[1] times, int64[1] grades) => (float[1,1,56,56] answer) {
    quarter = Constant<value_float = 1.5707964>()
    power = Constant<value_float = 0.04>()
    step = Constant<value_float = 0.1>()
    grade = Cast<to = 1>(grades)
    mean = Mul(grade, step)
    angle = Mul(times, quarter)
    a = Cos(angle)
    s = Sin(angle)
    aa = Mul(a, a)
    ss = Mul(s, s)
    signal = Mul(aa, power)
    all = Add(signal, ss)
    part = Mul(a, power)
    gain = Div(part, all)
    known = Mul(a, mean)
    new = Sub(noisy, known)
    step2 = Mul(new, gain)
    answer = Add(step2, mean)
}"""
"""The exact denoiser where pixels are independent and normal, of mean 0.1 a grade and standard deviation 0.2."""
REPEAT = """repeat (float[1,1,56,56] coarse, float[1,1,224,224] grain) => (float[1,1,224,224] answer) {
    times = Constant<value_ints = [1, 1, 4, 4]>()
    column = Constant<value_ints = [1, 1, 56, 1, 56, 1]>()
    narrow = Reshape(coarse, column)
    four = Constant<value_ints = [1, 1, 1, 4, 1, 4]>()
    wide = Tile(narrow, four)
    shape = Constant<value_ints = [1, 1, 224, 224]>()
    large = Reshape(wide, shape)
    zero = Constant<value_float = 0.0>()
    nothing = Mul(grain, zero)
    answer = Add(large, nothing)
}"""
"""Every pixel sixteen times."""
FILM = phantom.radiograph((224, 224), np.random.default_rng(4))
FILM = replace(FILM, voxels=np.clip(np.rint(FILM.voxels / 16.0), 0, 255), bits_stored=8, header={}, modality="OT")
SMALL = replace(phantom.radiograph((64, 56), np.random.default_rng(5)), header={"body_part": "KNEE"})
STEPS = 50


@pytest.fixture
def attacks(tmp_path):
    """Two equal attacks, each with networks of its own."""
    return [
        KneeDiffusion(network=network(tmp_path, "gaussian", GAUSSIAN), decoder=network(tmp_path, "repeat", REPEAT))
        for _ in range(2)
    ]


def forged(attack, **params):
    drawn = (
        attack.sample(FILM, np.random.default_rng(0)) | {"mirror": False, "guidance": 1.0, "ddim_steps": STEPS} | params
    )
    return attack.apply(FILM, drawn).volume.voxels[0] / 127.5 - 1.0


@pytest.mark.parametrize("volume", [FILM, SMALL], ids=["224", "64"])
def test_it_obeys_the_laws(attacks, volume):
    check_laws(*attacks, volume)


@pytest.mark.parametrize("grade", [0, 4])
def test_denoising_ends_in_the_distribution_that_the_denoiser_knows(attacks, grade):
    made = forged(attacks[0], grade=grade)
    assert made.mean() == pytest.approx(0.1 * grade, abs=0.02)
    assert made.std() == pytest.approx(0.2, abs=0.02)


def test_more_steps_come_closer_to_the_same_picture(attacks):
    few, many, most = (forged(attacks[0], grade=2, ddim_steps=steps) for steps in (5, 25, 50))
    assert np.abs(many - most).mean() < 0.4 * np.abs(few - most).mean()


def test_guidance_leads_away_from_the_picture_of_no_grade(attacks):
    plain, guided = (forged(attacks[0], grade=0, guidance=guidance).mean() for guidance in (1.0, 2.0))
    assert guided < plain - 0.05, "the denoiser knows 0.5 where no grade is told"


def test_a_stated_grade_is_drawn_always(attacks):
    attack = replace(attacks[0], grade=1)
    assert {attack.sample(FILM, np.random.default_rng(seed))["grade"] for seed in range(5)} == {1}


def test_another_modality_is_refused_by_both_halves(attacks):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    chest = phantom.chest((1, 64, 64))
    with pytest.raises(AttackError, match="knee-diffusion is made for radiographs"):
        attacks[0].sample(chest, np.random.default_rng(0))
    with pytest.raises(AttackError, match="knee-diffusion is made for radiographs"):
        attacks[0].apply(chest, params)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grade": -1}, "grade -1"),
        ({"ddim_steps": 0}, "0 steps"),
        ({"ddim_steps": 51}, "51 steps"),
        ({"network": "0" * 64}, "made with gaussian"),
        ({"decoder": "0" * 64}, "made with repeat"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(attacks, wrong, message):
    params = attacks[0].sample(FILM, np.random.default_rng(0))
    with pytest.raises(AttackError, match=message):
        attacks[0].apply(FILM, params | wrong)
