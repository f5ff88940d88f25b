"""What every attack obeys; see `tamperscope.attacks.attack`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generative import own_place
from tamperscope import attacks, phantom
from tamperscope.attacks import cubes
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
DONORS = (
    DONOR,
    replace(DONOR, modality="MR", digest="of an MR"),
    phantom.radiograph((48, 48), np.random.default_rng(9)),
)
LOCAL = attacks.local(DONORS)
BENIGN = attacks.benign()
EVERY = LOCAL | BENIGN
CHAINS = {
    name: attacks.Chain(tuple(EVERY[step] for step in name.split("+")))
    for name in (
        "ct-gan-blend-remove+regrain",
        "nodule-solid+compress-jpeg2000+window-8bit",
        "crop+inpaint-tv+resize",
        "intensity+crop",
        "denoise-iterative+add-noise",
    )
}
SYNTHESIS = attacks.synthesis()
KNEES = {
    f"knee of {side}": replace(
        phantom.radiograph((side, side - 8), np.random.default_rng(side)), header={"body_part": "KNEE"}
    )
    for side in (64, 224)
}
MOVES_THE_GRID = {"crop"}
DRAWS_ON_A_PART = {"annotation"}

IN_MILLIMETRES = {name for name in LOCAL if not name.startswith(("marker", "autoencoder"))} | {
    "kernel-change-sharpen",
    "kernel-change-soften",
}
CT_ONLY = {
    name for name in EVERY if name.startswith(("ct-gan", "cycle-gan", "diffusion-inpaint", "nodule", "kernel-change"))
}

every_attack = pytest.mark.parametrize("attack", EVERY.values(), ids=EVERY.keys())
every_volume = pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())


def places(attack: attacks.Attack, volume: Volume) -> list[tuple[int, int, int] | None]:
    """Two opposite corners, the centre, and one that the attack chooses."""
    depth, height, width = volume.shape
    return [
        (0, 0, 0),
        (depth - 1, height - 1, width - 1),
        (depth // 2, height // 2, width // 2),
        own_place(attack, volume),
    ]


def check(attack: attacks.Attack, volume: Volume, seed: int, at: tuple[int, int, int] | None) -> None:
    before = volume.voxels.copy()
    params = attack.sample(volume, np.random.default_rng(seed), at)
    forgery = attack.apply(volume, params)
    forged = forgery.volume.voxels
    assert np.array_equal(volume.voxels, before), "the input was changed"

    assert forged.dtype == np.float32
    assert np.isfinite(forged).all()
    if volume.sources and len(volume.sources) == len(before):
        assert len(forgery.volume.sources) == len(forgery.volume.sop_instance_uids) == len(forged)
    if np.array_equal(before, np.rint(before)):
        assert np.array_equal(forged, np.rint(forged)), "whole numbers became fractions"
    check_grid(attack, volume, forgery.volume)

    assert forgery.mask.shape == forgery.volume.shape
    assert forgery.mask.dtype == bool
    twin = attack.twin(volume, params) if isinstance(attack, attacks.Chain) else volume
    if attack.benign:
        assert not forgery.mask.any()
    else:
        assert np.array_equal(forgery.mask, forged != twin.voxels)

    record = json.loads(json.dumps(forgery.record, allow_nan=False))
    assert ("steps" in record["params"]) == isinstance(attack, attacks.Chain), "the word by which chains are known"
    assert record == {"attack": attack.name, "input": volume.digest, "params": params}
    replayed = attack.apply(volume, record["params"])
    assert np.array_equal(replayed.volume.voxels, forged)
    assert np.array_equal(replayed.volume.affine, forgery.volume.affine)
    assert np.array_equal(replayed.mask, forgery.mask)
    assert replayed.volume.digest == forgery.volume.digest


def check_grid(attack: attacks.Attack, before: Volume, after: Volume) -> None:
    """The grid stays, or what is left of it keeps its place in the patient."""
    if not MOVES_THE_GRID & set(attack.name.split("+")):
        assert after.shape == before.shape
        assert np.array_equal(after.affine, before.affine)
        return
    np.testing.assert_allclose(after.affine[:3, :3], before.affine[:3, :3])
    corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in after.shape), 1]]).T
    first, last = (np.linalg.inv(before.affine) @ after.affine @ corners).T[:, :3]
    assert (first > -1e-6).all()
    assert (last < np.array(before.shape) - 1 + 1e-6).all()


@every_volume
@every_attack
def test_it_replays_and_tells_the_truth_about_what_it_changed(attack, volume):
    for seed, at in enumerate(places(attack, volume)):
        check(attack, volume, seed, at)


@pytest.mark.parametrize("name", ["coarse", "one slice", "tiny", "constant", "radiograph"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_so_does_a_chain(chain, name):
    for seed, at in enumerate(places(chain, VOLUMES[name])):
        check(chain, VOLUMES[name], seed, at)


def test_records_replay_in_another_process(tmp_path):
    volume = VOLUMES["fine"]
    written, expected = [], []
    for name, attack in (EVERY | CHAINS).items():
        forgery = attack.apply(volume, attack.sample(volume, np.random.default_rng(11), (7, 32, 24)))
        written.append(dict(forgery.record))
        expected.append(f"{name} {forgery.volume.digest} {int(forgery.mask.sum())}")
    np.save(tmp_path / "voxels.npy", volume.voxels)
    np.save(tmp_path / "donor.npy", DONOR.voxels)
    (tmp_path / "records.json").write_text(json.dumps(written))
    run = subprocess.run(
        [sys.executable, "-c", REPLAY, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.splitlines() == expected


REPLAY = """
import json, sys
from pathlib import Path
import numpy as np
from tamperscope import attacks
from tamperscope.records import Volume, voxel_digest

folder = Path(sys.argv[1])

def load(name, k, j, i):
    voxels = np.load(folder / name)
    affine = np.array([[0, 0, i, 0], [0, j, 0, 0], [k, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(voxels, affine, "CT", digest=voxel_digest(voxels))

volume, donor = load("voxels.npy", 1.0, 0.7, 0.7), load("donor.npy", 3.0, 5.0, 5.0)
known = attacks.local((donor,)) | attacks.benign()
for record in json.loads((folder / "records.json").read_text()):
    assert record["input"] == volume.digest
    steps = tuple(known[name] for name in record["attack"].split("+"))
    attack = attacks.Chain(steps) if len(steps) > 1 else steps[0]
    forgery = attack.apply(volume, record["params"])
    print(record["attack"], forgery.volume.digest, int(forgery.mask.sum()))
"""


@pytest.mark.parametrize("volume", KNEES.values(), ids=KNEES.keys())
@pytest.mark.parametrize("name", sorted(SYNTHESIS))
def test_so_does_a_synthesis_of_the_whole_picture(name, volume):
    for seed in range(3):
        check(SYNTHESIS[name], volume, seed, None)


@every_volume
def test_a_reconstruction_takes_any_picture(volume):
    check(SYNTHESIS["autoencoder-whole"], volume, 1, None)


@pytest.mark.parametrize("name", sorted(SYNTHESIS.keys() - {"autoencoder-whole"}))
def test_what_is_no_knee_is_refused(name):
    for volume in (COARSE, VOLUMES["one slice"], VOLUMES["radiograph"], VOLUMES["fractions"]):
        with pytest.raises(AttackError):
            SYNTHESIS[name].apply(volume, SYNTHESIS[name].sample(volume, np.random.default_rng(0)))


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


@pytest.mark.parametrize("name", sorted(set(BENIGN) - MOVES_THE_GRID - DRAWS_ON_A_PART))
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
    params = LOCAL[name].sample(COARSE, np.random.default_rng(0), (0, 0, 0))
    with pytest.raises(AttackError, match="outside"):
        LOCAL[name].apply(COARSE, params | {"centre": list(at)})


@pytest.mark.parametrize("attack", EVERY.values(), ids=EVERY.keys())
def test_the_same_generator_draws_the_same_forgery(attack):
    first, again = (attack.sample(COARSE, np.random.default_rng(6), own_place(attack, COARSE)) for _ in range(2))
    assert first == again


def test_names_are_their_keys_and_differ_between_local_and_benign():
    assert all(attack.name == name for name, attack in EVERY.items())
    assert all(attack.name == name for name, attack in SYNTHESIS.items())
    assert len(EVERY | SYNTHESIS) == len(LOCAL) + len(BENIGN) + len(SYNTHESIS)
    assert not any(attack.benign for attack in (LOCAL | SYNTHESIS).values())
    assert all(attack.benign for attack in BENIGN.values())
    assert set(LOCAL) - set(attacks.local()) == {"splice"}, "only splice needs a donor"


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_volume_that_an_attack_cannot_mean_is_refused_before_it_is_forged(name):
    attack = EVERY[name]
    cubes.require(VOLUMES["coarse"], attack)
    with pytest.raises(AttackError, match="colour"):
        cubes.require(replace(COARSE, voxels=np.zeros((2, 8, 8, 3), np.float32)), attack)
    for volume, refused in (
        (replace(COARSE, geometry="none"), attack.name in IN_MILLIMETRES),
        (VOLUMES["tiny"], attack.name in IN_MILLIMETRES),
        (replace(COARSE, modality="DX"), attack.name in CT_ONLY),
    ):
        if refused:
            with pytest.raises(AttackError, match=attack.name):
                cubes.require(volume, attack)
        else:
            cubes.require(volume, attack)
