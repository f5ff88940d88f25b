from __future__ import annotations

import numpy as np
import pytest

from tamperscope import anatomy, phantom
from tamperscope.attacks import (
    AddNoise,
    Chain,
    Compress,
    Crop,
    CtGanBlend,
    Inpaint,
    Nodule,
    Regrain,
    ResampleWhole,
    Resize,
)
from tamperscope.errors import AttackError

PLACE = (5, 40, 30)


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((10, 96, 96), (2.5, 3.0, 3.0))


def made(chain, volume, seed=0, at=PLACE):
    params = chain.sample(volume, np.random.default_rng(seed), at)
    return chain.apply(volume, params), params


def test_the_truth_is_the_forgery_against_its_twin_and_not_what_both_went_through(volume):
    chain = Chain((Nodule("solid"), AddNoise()))
    forgery, params = made(chain, volume)
    alone = Nodule("solid").apply(volume, params["steps"][0]["params"])
    twin = AddNoise().apply(volume, params["steps"][1]["params"]).volume
    assert np.array_equal(chain.twin(volume, params).voxels, twin.voxels)
    assert np.array_equal(forgery.mask, forgery.volume.voxels != twin.voxels)
    assert (forgery.mask & ~alone.mask).sum() == 0, "noise is the same in both"
    assert 0 < forgery.mask.sum() < 0.1 * (forgery.volume.voxels != volume.voxels).sum()


def test_compression_spreads_the_truth_round_the_place(volume):
    forgery, params = made(Chain((Nodule("solid"), Compress("jpeg2000"))), volume)
    alone = Nodule("solid").apply(volume, params["steps"][0]["params"])
    assert forgery.mask.sum() > alone.mask.sum()


def test_benign_steps_make_a_benign_chain(volume):
    chain = Chain((AddNoise(), Resize()))
    forgery, params = made(chain, volume)
    assert chain.benign
    assert not forgery.mask.any()
    assert np.array_equal(chain.twin(volume, params).voxels, forgery.volume.voxels)
    assert not Chain((AddNoise(), Nodule())).benign


def test_every_step_gets_the_one_place(volume):
    _, params = made(Chain((Inpaint("tv"), Regrain())), volume, at=None)
    first, second = (step["params"]["centre"] for step in params["steps"])
    assert first == second


def test_the_place_moves_with_the_grid(volume):
    forgery, params = made(Chain((Crop(), Nodule("solid"))), volume)
    start, centre = params["steps"][0]["params"]["start"], params["steps"][1]["params"]["centre"]
    assert [a + b for a, b in zip(start, centre, strict=True)] == list(PLACE)
    assert (
        forgery.mask.shape
        == forgery.volume.shape
        == tuple(stop - first for first, stop in zip(start, params["steps"][0]["params"]["stop"], strict=True))
    )
    np.testing.assert_allclose(forgery.volume.position_mm(tuple(centre)), volume.position_mm(PLACE))


def test_a_step_is_drawn_in_what_the_steps_before_left(volume):
    chain = Chain((ResampleWhole(), Nodule("solid")))
    _, params = made(chain, volume)
    moved = ResampleWhole().apply(volume, params["steps"][0]["params"]).volume
    rng = np.random.default_rng(0)
    ResampleWhole().sample(volume, rng, PLACE)
    assert Nodule("solid").sample(moved, rng, PLACE) == params["steps"][1]["params"]


def test_the_record_of_another_chain_is_refused(volume):
    _, params = made(Chain((AddNoise(), Resize())), volume)
    with pytest.raises(AttackError, match=r"add-noise\+resize, not of resize\+add-noise"):
        Chain((Resize(), AddNoise())).apply(volume, params)


def test_all_steps_get_the_place_that_the_first_attack_chooses():
    chest = phantom.chest((20, 128, 128), (2.5, 2.5, 2.5), np.random.default_rng(1))
    chain = Chain((Compress("jpeg"), CtGanBlend("remove"), Regrain()))
    steps = chain.sample(chest, np.random.default_rng(0))["steps"]
    centre = tuple(steps[1]["params"]["centre"])
    assert tuple(steps[2]["params"]["centre"]) == centre
    assert centre in [place for place, _ in anatomy.findings(chest.voxels, chest.spacing_mm)]
