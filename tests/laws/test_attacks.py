"""What every attack obeys; see `tamperscope.attacks.attack`."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamperscope import attacks, phantom
from tamperscope.errors import AttackError
from tamperscope.records import Volume


def chest(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Volume:
    return phantom.chest(shape, spacing_mm, np.random.default_rng(3))


def holding(voxels: np.ndarray, modality: str = "CT") -> Volume:
    like = chest((1, 8, 8), (2.5, 0.7, 0.7))
    return replace(like, voxels=voxels.astype(np.float32), modality=modality, bits_stored=12)


COARSE = chest((10, 72, 80), (2.5, 4.5, 4.5))
VOLUMES = {
    "coarse": COARSE,
    "fine": chest((14, 64, 64), (1.0, 0.7, 0.7)),
    "long voxels": chest((6, 40, 57), (5.0, 0.9, 1.1)),
    "one slice": chest((1, 64, 64), (2.5, 0.7, 0.7)),
    "tiny": chest((2, 9, 7), (2.5, 0.7, 0.7)),
    "one voxel": holding(np.full((1, 1, 1), -850.0)),
    "constant": holding(np.full((3, 32, 24), -850.0)),
    "fractions": holding(np.random.default_rng(5).normal(40.0, 9.0, (4, 32, 33)), "MR"),
    "radiograph": phantom.radiograph((64, 56), np.random.default_rng(4)),
}
DONOR = phantom.chest((8, 48, 48), (3.0, 5.0, 5.0), np.random.default_rng(8))
LOCAL = attacks.local((DONOR,))
BENIGN = attacks.benign()
EVERY = LOCAL | BENIGN

every_attack = pytest.mark.parametrize("attack", EVERY.values(), ids=EVERY.keys())
every_volume = pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())


def places(volume: Volume) -> list[tuple[int, int, int] | None]:
    """Two opposite corners, the centre, and one that the attack chooses."""
    depth, height, width = volume.shape
    return [(0, 0, 0), (depth - 1, height - 1, width - 1), (depth // 2, height // 2, width // 2), None]


def check(attack: attacks.Attack, volume: Volume, seed: int, at: tuple[int, int, int] | None) -> None:
    before = volume.voxels.copy()
    params = attack.sample(volume, np.random.default_rng(seed), at)
    forgery = attack.apply(volume, params)
    forged = forgery.volume.voxels
    assert np.array_equal(volume.voxels, before), "the input was changed"

    assert forged.shape == volume.voxels.shape
    assert forged.dtype == np.float32
    assert np.array_equal(forgery.volume.affine, volume.affine)
    assert np.isfinite(forged).all()
    if np.array_equal(before, np.rint(before)):
        assert np.array_equal(forged, np.rint(forged)), "whole numbers became fractions"

    assert forgery.mask.shape == volume.shape
    assert forgery.mask.dtype == bool
    if attack.benign:
        assert not forgery.mask.any()
    else:
        assert np.array_equal(forgery.mask, forged != before)

    record = json.loads(json.dumps(forgery.record, allow_nan=False))
    assert record == {"attack": attack.name, "input": volume.digest, "params": params}
    replayed = attack.apply(volume, record["params"])
    assert np.array_equal(replayed.volume.voxels, forged)
    assert np.array_equal(replayed.mask, forgery.mask)
    assert replayed.volume.digest == forgery.volume.digest


@every_volume
@every_attack
def test_it_replays_and_tells_the_truth_about_what_it_changed(attack, volume):
    for seed, at in enumerate(places(volume)):
        check(attack, volume, seed, at)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(EVERY)),
    volume=st.sampled_from(["coarse", "fine", "one slice", "tiny", "radiograph"]).map(VOLUMES.__getitem__),
    seed=st.integers(0, 2**32),
    place=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3),
)
def test_it_does_so_for_any_seed_and_place(name, volume, seed, place):
    k, j, i = (int(share * side) for share, side in zip(place, volume.shape, strict=True))
    check(EVERY[name], volume, seed, (k, j, i))


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_a_local_attack_changes_something_and_leaves_most_alone(name):
    volume, lung = VOLUMES["coarse"], (5, 36, 20)
    masks = [
        LOCAL[name].apply(volume, LOCAL[name].sample(volume, np.random.default_rng(seed), lung)).mask
        for seed in range(5)
    ]
    assert any(mask.any() for mask in masks)
    assert all(mask.mean() < 0.5 for mask in masks)


@pytest.mark.parametrize("name", sorted(BENIGN))
def test_a_benign_change_reaches_the_whole_picture(name):
    volume = VOLUMES["coarse"]
    forged = BENIGN[name].apply(volume, BENIGN[name].sample(volume, np.random.default_rng(2))).volume
    changed = forged.voxels != volume.voxels
    corners = [np.s_[:, j : j + 36, i : i + 40] for j, i in product((0, 36), (0, 40))]
    assert all(changed[corner].any() for corner in corners)


@pytest.mark.parametrize("name", sorted(LOCAL))
@pytest.mark.parametrize("at", [(-1, 0, 0), (0, 72, 0), (0, 0, 80), (10, 0, 0)])
def test_a_place_outside_the_volume_is_refused(name, at):
    with pytest.raises(AttackError, match="outside"):
        LOCAL[name].sample(COARSE, np.random.default_rng(0), at)
    params = LOCAL[name].sample(COARSE, np.random.default_rng(0))
    with pytest.raises(AttackError, match="outside"):
        LOCAL[name].apply(COARSE, params | {"centre": list(at)})


@pytest.mark.parametrize("attack", EVERY.values(), ids=EVERY.keys())
def test_the_same_generator_draws_the_same_forgery(attack):
    first, again = (attack.sample(COARSE, np.random.default_rng(6)) for _ in range(2))
    assert first == again


def test_names_are_their_keys_and_differ_between_local_and_benign():
    assert all(attack.name == name for name, attack in EVERY.items())
    assert len(EVERY) == len(LOCAL) + len(BENIGN)
    assert not any(attack.benign for attack in LOCAL.values())
    assert all(attack.benign for attack in BENIGN.values())
    assert set(LOCAL) - set(attacks.local()) == {"splice"}, "only splice needs a donor"
