from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom
from tamperscope.errors import AttackError
from tamperscope.train import crops
from tamperscope.train.crops import CROP, IGNORE, Crops, Recipe, source

RECIPE = Recipe()
PLAIN = replace(RECIPE, before_share=0.0, after_share=0.0)
WINDOW_HU = RECIPE.clip_hu[1] - RECIPE.clip_hu[0]


@pytest.fixture(scope="module")
def sources():
    volumes = [
        phantom.chest((10, 200, 176), (2.5, 1.8, 1.8), np.random.default_rng(1)),
        phantom.chest((6, 136, 160), (3.0, 2.4, 2.4), np.random.default_rng(2)),
    ]
    return [source(f"P{number}", volume, RECIPE.clip_hu, 1.0 / (1 + number)) for number, volume in enumerate(volumes)]


def pairs(sources, recipe, seed, count):
    return list(islice(iter(Crops(sources, recipe, seed)), count))


def test_the_stream_is_reproducible_from_its_seed(sources):
    first, again, other = (pairs(sources, RECIPE, seed, 3) for seed in (4, 4, 5))
    for one, two in zip(first, again, strict=True):
        assert one.attack == two.attack
        for name in ("forged", "pristine", "target"):
            assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(first[0].pristine, other[0].pristine)


def test_a_pair_has_its_shapes_and_something_to_find(sources):
    for pair in pairs(sources, RECIPE, 6, 8):
        for seen in (pair.forged, pair.pristine):
            assert seen.shape == (3, CROP, CROP)
            assert seen.dtype == np.float32
            assert np.isfinite(seen).all()
        assert pair.target.shape == (CROP, CROP)
        assert set(np.unique(pair.target)) <= {0.0, 1.0, IGNORE}
        assert (pair.target == 1.0).any()
        assert (pair.target == 0.0).any()


@pytest.mark.parametrize("attack", [name for name, _ in RECIPE.attack_shares])
def test_twin_and_forgery_differ_only_where_the_target_says(sources, attack):
    recipe = replace(PLAIN, attack_shares=((attack, 1.0),))
    (pair,) = pairs(sources, recipe, 7, 1)
    assert pair.attack == attack
    change_hu = np.abs(pair.forged[0] - pair.pristine[0]) * WINDOW_HU / 2
    assert change_hu[pair.target == 0.0].max() < 8.0, "0.5 HU after smoothing is at most 7.1 HU in one pixel"
    assert change_hu[pair.target == 0.0].mean() < 0.2
    assert change_hu[pair.target == 1.0].mean() > 2.0


def test_a_benign_change_afterwards_reaches_both_twins_alike(sources):
    plain, changed = (pairs(sources, replace(PLAIN, after_share=share), 8, 1)[0] for share in (0.0, 1.0))
    before_hu, after_hu = (np.abs(pair.forged[0] - pair.pristine[0]) * WINDOW_HU / 2 for pair in (plain, changed))
    assert before_hu[plain.target == 0.0].mean() < 0.2
    assert after_hu[changed.target == 0.0].mean() < 3.0
    assert not np.array_equal(plain.pristine, changed.pristine)


def test_places_lie_in_the_lungs_or_in_the_body(sources):
    one = sources[0]
    assert one.lung.size > 100
    assert np.median(one.volume.voxels.ravel()[one.lung]) < -600.0
    assert one.noise.shape == (10,)
    assert (one.noise > 1.0).all()


def test_each_patient_weighs_alike_and_all_those_of_single_slices_together():
    whole = phantom.chest((6, 136, 160), (3.0, 2.4, 2.4))
    single = replace(whole, voxels=whole.voxels[:1])
    empty = replace(whole, voxels=np.full_like(whole.voxels, -1000.0))
    made = crops.sources([("a", whole), ("a", whole), ("b", single), ("c", single), ("d", empty)], RECIPE.clip_hu)
    assert [(one.patient, one.weight) for one in made] == [
        ("a", 0.5), ("a", 0.5), ("b", crops.SINGLES / 2), ("c", crops.SINGLES / 2),
    ]  # fmt: skip


class Refuses:
    """An attack that finds no room wherever it is asked to."""

    def sample(self, *_, **__):
        raise AttackError("no room here", hint="take another place")

    def apply(self, *_):
        raise AssertionError("it was not sampled")


def test_a_forgery_that_cannot_be_made_is_no_pair_and_no_end(sources, monkeypatch):
    monkeypatch.setattr(crops.attacks, "local", lambda *_: {"inpaint": Refuses()})
    recipe = replace(PLAIN, attack_shares=(("inpaint", 1.0),))
    assert Crops(sources, recipe, 3).draw(np.random.default_rng(3)) is None
