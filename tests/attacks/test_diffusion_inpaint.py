from __future__ import annotations

import math

import numpy as np
import pytest

from generative import VOLUMES, check_laws, network
from tamperscope.attacks import lung_grid
from tamperscope.attacks.diffusion_inpaint import (
    HOLE_MM,
    MARGIN_MM,
    TRAINED_STEPS,
    DiffusionInpaint,
    hole,
    sample,
    signal_shares,
)
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

GRAPH = """denoiser (
    float[1,16,32,32] noisy, float[1,16,32,32] known, float[1,16,32,32] hole, float[1] t, float[1] nodule
) => (float[1,16,32,32] answer) {
    half = Constant<value_float = 0.5>()
    calm = Mul(noisy, half)
    late = Add(calm, t)
    wish = Sub(late, nodule)
    answer = Sub(wish, known)
}"""
"""No denoiser, but an answer that depends on every input but the hole, which the attack itself uses."""
MODES = ("inject", "remove")


@pytest.fixture
def attacks(tmp_path):
    """Two equal pairs of attacks, each with a network of its own."""
    return [{mode: DiffusionInpaint(mode, network(tmp_path, "denoiser", GRAPH)) for mode in MODES} for _ in range(2)]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("mode", MODES)
def test_it_obeys_the_laws(attacks, mode, name):
    check_laws(attacks[0][mode], attacks[1][mode], VOLUMES[name])


@pytest.mark.parametrize("steps", [1, 10, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_perfect_denoiser_leads_to_its_picture(steps, eta):
    target = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 6, 6)).astype(np.float32)
    shares = signal_shares()

    def perfect(noisy, t):
        share = shares[round(t * TRAINED_STEPS)]
        a, s = math.sqrt(share), math.sqrt(1.0 - share)
        return a * (noisy - a * target) / s - s * target

    made = sample(perfect, np.random.default_rng(1), target.shape, steps, eta, None)
    assert made.dtype == np.float32
    assert made == pytest.approx(target, abs=1e-3)


def test_the_context_is_put_back_before_every_step():
    known, gap = np.full((1, 4, 4), 0.25, np.float32), np.zeros((1, 4, 4), dtype=bool)
    gap[:, 1:3, 1:3] = True
    levels = []

    def look(noisy, t):
        levels.append((t, float(np.abs(noisy - known)[~gap].max())))
        return np.zeros_like(noisy)

    sample(look, np.random.default_rng(0), known.shape, 12, 0.0, (known, gap))
    assert len(levels) == 12
    times = [t for t, _ in levels]
    assert times == sorted(times, reverse=True)
    assert levels[0][1] > 0.5, "all noise at first"
    assert levels[-1][1] < 0.05, "hardly any at last"


def test_the_schedule_falls_from_all_signal_to_none():
    shares = signal_shares()
    assert shares.shape == (1000,)
    assert (np.diff(shares[:-3]) < 0).all()
    assert shares[0] > 0.999
    assert shares[500] == pytest.approx(0.5, abs=0.02)
    assert 0.0 < shares[-1] < 1e-4


def test_holes_have_their_millimetres():
    box, ball = hole("box", 20.0), hole("ellipsoid", 20.0)
    assert [int(np.ptp(axis)) + 1 for axis in np.nonzero(box)] == [10, 20, 20]
    assert box.sum() == 10 * 20 * 20
    assert ball.sum() * 2.0 == pytest.approx(4 / 3 * math.pi * 10.0**3, rel=0.05)
    assert not (ball & ~box).any()


@pytest.mark.parametrize("paste", lung_grid.PASTES)
def test_with_its_context_kept_only_the_hole_changes(attacks, make, no_grain, paste):
    volume = make(np.rint(np.random.default_rng(2).normal(-850.0, 20.0, (16, 32, 32))), lung_grid.SPACING_MM)
    params = attacks[0]["inject"].sample(volume, np.random.default_rng(0), (8, 16, 16)) | no_grain
    params |= {"keep_context": True, "window": "hard", "paste": paste, "hole": "box", "hole_mm": 18.0}
    assert np.array_equal(attacks[0]["inject"].apply(volume, params).mask & ~hole("box", 18.0), np.zeros((16, 32, 32)))


def test_bone_beside_the_hole_stays_bone(attacks, make, no_grain):
    voxels = np.full((16, 32, 32), -850.0)
    voxels[:, :, :4] = 900.0
    volume = make(voxels, lung_grid.SPACING_MM)
    params = attacks[0]["remove"].sample(volume, np.random.default_rng(0), (8, 16, 16)) | no_grain
    forged = attacks[0]["remove"].apply(volume, params | {"keep_context": False, "window": "hard"}).volume.voxels
    assert (forged[:, :, :4] == 900.0).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_hole_has_room_for_the_nodule_and_removal_grows_none(attacks, seed):
    inject, remove = (
        attacks[0][mode].sample(VOLUMES["chest"], np.random.default_rng(seed), (5, 36, 40)) for mode in MODES
    )
    assert inject["hole_mm"] >= min(inject["diameter_mm"] + MARGIN_MM, HOLE_MM[1]) - 0.01
    assert remove["diameter_mm"] == 0.0
    assert HOLE_MM[0] <= remove["hole_mm"] <= HOLE_MM[1]


def test_a_record_made_with_other_weights_is_refused(attacks):
    attack, volume = attacks[0]["inject"], VOLUMES["chest"]
    params = attack.sample(volume, np.random.default_rng(0))
    with pytest.raises(AttackError, match="made with denoiser"):
        attack.apply(volume, params | {"network": "0" * 64})


@pytest.mark.parametrize("mode", MODES)
def test_a_place_outside_is_refused(attacks, mode):
    attack, volume = attacks[0][mode], VOLUMES["chest"]
    with pytest.raises(AttackError, match="outside"):
        attack.sample(volume, np.random.default_rng(0), (10, 0, 0))
    with pytest.raises(AttackError, match="outside"):
        attack.apply(volume, attack.sample(volume, np.random.default_rng(0), (5, 36, 40)) | {"centre": [0, 72, 0]})


def test_it_says_what_it_is_made_for(attacks):
    assert attacks[0]["inject"].name == "diffusion-inpaint-inject"
    assert attacks[0]["remove"].modalities == ("CT",)
    assert attacks[0]["remove"].box_mm == 32.0
