from __future__ import annotations

import numpy as np
import pytest

from generative import VOLUMES, check_laws, network
from tamperscope.attacks import lung_grid
from tamperscope.attacks.cycle_gan import CycleGan, mask
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

GRAPH = """brighter (float[1,16,32,32] cube, float[1,16,32,32] mask) => (float[1,16,32,32] answer) {
    step = Constant<value_float = 0.2>()
    answer = Add(cube, step)
}"""
"""Adds 140 HU, inside the mask and outside."""
MODES = ("inject", "remove")


@pytest.fixture
def attacks(tmp_path):
    """Two equal pairs of attacks, each with a network of its own."""
    return [{mode: CycleGan(mode, network(tmp_path, "brighter", GRAPH)) for mode in MODES} for _ in range(2)]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("mode", MODES)
def test_it_obeys_the_laws(attacks, mode, name):
    check_laws(attacks[0][mode], attacks[1][mode], VOLUMES[name])


@pytest.mark.parametrize("paste", lung_grid.PASTES)
def test_only_the_mask_takes_the_answer(attacks, make, no_grain, paste):
    volume = make(np.full((16, 32, 32), -850.0), lung_grid.SPACING_MM)
    params = attacks[0]["inject"].sample(volume, np.random.default_rng(0), (8, 16, 16)) | no_grain
    params |= {"diameter_mm": 10.0, "stretch": [1.0, 1.0, 1.0], "window": "hard", "paste": paste}
    change = attacks[0]["inject"].apply(volume, params).volume.voxels - volume.voxels
    assert change == pytest.approx(140.0 * mask(10.0, (1.0, 1.0, 1.0)), abs=0.51), "whole numbers are written"


def test_the_mask_is_half_as_wide_again_as_the_nodule_and_soft():
    weights = mask(10.0, (1.0, 1.0, 1.0))
    assert weights.shape == lung_grid.SHAPE
    assert weights.dtype == np.float32
    assert weights.sum() * 2.0 == pytest.approx(4 / 3 * np.pi * 9.5**3, rel=0.05)
    assert weights.max() > 0.999
    assert ((weights > 0.1) & (weights < 0.9)).any()
    assert mask(10.0, (1.0, 1.0, 1.2)).sum() == pytest.approx(1.2 * weights.sum(), rel=0.05)


@pytest.mark.parametrize("diameter", [5.0, 16.0])
def test_the_mask_ends_inside_the_cube(diameter):
    weights = mask(diameter, (1.0, 1.0, 1.0))
    assert max(weights[0].max(), weights[:, 0].max(), weights[:, :, 0].max()) < 0.5


def test_a_record_made_with_other_weights_is_refused(attacks):
    attack, volume = attacks[0]["inject"], VOLUMES["chest"]
    params = attack.sample(volume, np.random.default_rng(0))
    with pytest.raises(AttackError, match="made with brighter"):
        attack.apply(volume, params | {"network": "0" * 64})


@pytest.mark.parametrize("mode", MODES)
def test_a_place_outside_is_refused(attacks, mode):
    attack, volume = attacks[0][mode], VOLUMES["chest"]
    with pytest.raises(AttackError, match="outside"):
        attack.sample(volume, np.random.default_rng(0), (10, 0, 0))
    with pytest.raises(AttackError, match="outside"):
        attack.apply(volume, attack.sample(volume, np.random.default_rng(0), (5, 36, 40)) | {"centre": [0, 72, 0]})


def test_it_says_what_it_is_made_for(attacks):
    assert attacks[0]["inject"].name == "cycle-gan-inject"
    assert attacks[0]["remove"].modalities == ("CT",)
    assert attacks[0]["remove"].box_mm == 32.0
