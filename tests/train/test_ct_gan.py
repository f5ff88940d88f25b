from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom  # noqa: E402
from tamperscope.attacks.ct_gan import CtGan, Equalisation  # noqa: E402
from tamperscope.attacks.network import Network  # noqa: E402
from tamperscope.errors import InputError, WeightsError  # noqa: E402
from tamperscope.train import ct_gan  # noqa: E402
from tamperscope.train.ct_gan import Learner, Recipe, Source  # noqa: E402
from tamperscope.train.run import Budget, fit  # noqa: E402

RECIPE = Recipe("remove", width=2, cubes=6, batch=3, generator_rate=2e-3)


@pytest.fixture(scope="module")
def chest():
    return phantom.chest((24, 128, 128), (2.5, 2.5, 2.5), np.random.default_rng(1))


@pytest.fixture(scope="module")
def seen():
    """Cubes in the network's unit: smooth fields, all different."""
    rng = np.random.default_rng(2)
    return np.stack(
        [np.broadcast_to(np.linspace(a, b, 32, dtype=np.float32), (32,) * 3) for a, b in rng.uniform(-0.5, 0.5, (6, 2))]
    )


def same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


# --- cubes ---


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7), (5.0, 0.9, 0.9)])
def test_a_cut_has_40_mm_at_1_mm(make, spacing_mm):
    shape = [round(60.0 / mm) for mm in spacing_mm]
    axes = [np.arange(n) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    volume = make(np.add.outer(np.add.outer(axes[0], 2 * axes[1]), -3 * axes[2]), spacing_mm)
    cube = ct_gan.cut(volume, tuple(n // 2 for n in shape))
    assert all(38 <= n <= 42 for n in cube.shape)
    # The published zoom lays the centres of the first and last voxel on those of the new grid: thick slices are
    # stretched a little.
    stretch = (np.array(cube.shape) - 1) / ((np.round(40.0 / np.array(spacing_mm)) - 1) * spacing_mm)
    slopes = [np.gradient(cube, axis=axis)[10:30, 10:30, 10:30].mean() for axis in range(3)]
    assert slopes * stretch == pytest.approx([1.0, 2.0, -3.0], rel=0.02)


def test_a_cut_is_filled_with_air_outside_and_held_to_what_ct_stores(make):
    volume = make(np.full((40, 40, 40), -3024.0))
    cube = ct_gan.cut(volume, (0, 20, 20))
    assert cube[25:, 5:35, 5:35].max() == pytest.approx(-1024.0)
    assert cube[:15].mean() == pytest.approx(-1000.0)


def test_there_are_67_versions_of_which_two_are_one_another():
    cube = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    made = [ct_gan.version(cube, number) for number in range(ct_gan.VERSIONS)]
    assert len(made) == 67
    assert {one.shape for one in made} == {(32, 32, 32)}
    assert np.array_equal(made[0], cube[4:36, 4:36, 4:36])
    assert np.array_equal(made[3], made[0][:, ::-1, ::-1])
    assert np.array_equal(made[4], cube[4:36, :32, :32])
    assert np.array_equal(made[7], cube[4:36, 8:, 8:])
    half_turn = 4 + 4 + 180 // 6 - 1
    np.testing.assert_allclose(made[half_turn], made[3], atol=1e-4)  # both flips
    assert len({one.tobytes() for one in made if one is not made[half_turn]}) == 66


def test_a_body_that_ends_inside_is_no_healthy_lung_and_a_vessel_is():
    lung = np.full((32, 32, 32), -850.0, dtype=np.float32)
    vessel, body = lung.copy(), lung.copy()
    vessel[:, 14:18, 14:18] = 40.0
    body[13:19, 13:19, 13:19] = 40.0
    assert ct_gan.healthy(lung)
    assert ct_gan.healthy(vessel)
    assert not ct_gan.healthy(body)


def test_a_drawn_nodule_lies_in_the_middle_and_leaves_the_rim_alone():
    lung = np.random.default_rng(0).normal(-850.0, 20.0, (40, 40, 40)).astype(np.float32)
    drawn = [ct_gan.draw_nodule(lung, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one[18:22, 18:22, 18:22].mean() > -780.0 for one in drawn)
    assert all(np.abs(one[:2] - lung[:2]).max() < 5.0 for one in drawn)
    assert len({one.tobytes() for one in drawn}) == 8


def test_removal_learns_from_healthy_lung(chest):
    made = ct_gan.training_cubes([Source(chest)], RECIPE, np.random.default_rng(0))
    assert made.shape == (6, 32, 32, 32)
    assert np.median(made) < -600.0
    again = ct_gan.training_cubes([Source(chest)], RECIPE, np.random.default_rng(0))
    assert np.array_equal(made, again)


def test_injection_learns_from_marks_and_from_drawn_nodules(chest):
    volume = replace(chest, voxels=chest.voxels.copy())
    volume.voxels[10:14, 60:68, 30:38] = 500.0
    recipe = replace(RECIPE, mode="inject", drawn_share=0.5)
    made = ct_gan.training_cubes([Source(volume, ((12, 64, 34),))], recipe, np.random.default_rng(0))
    middles = made[:, 13:19, 13:19, 13:19].mean(axis=(1, 2, 3))
    assert (middles[3:] > 300.0).all()
    assert (middles[:3] < 300.0).all()
    assert middles[:3].max() > -400.0


def test_without_marks_or_lung_there_is_nothing_to_learn(chest, make):
    with pytest.raises(InputError, match="no nodule is marked"):
        ct_gan.training_cubes([Source(chest)], replace(RECIPE, mode="inject"), np.random.default_rng(0))
    solid = Source(make(np.full((40, 64, 64), 40.0)))
    with pytest.raises(InputError, match="no healthy lung"):
        ct_gan.training_cubes([solid], RECIPE, np.random.default_rng(0))


@pytest.mark.parametrize(("depth", "usable"), [(1, False), (12, False), (13, True)])
def test_stacks_thinner_than_a_cube_are_not_used(make, depth, usable):
    assert ct_gan.usable(make(np.zeros((depth, 40, 40)), (2.5, 1.0, 1.0))) == usable


def test_the_table_makes_all_values_equally_frequent():
    cubes_hu = np.random.default_rng(0).normal(-850.0, 60.0, (4, 32, 32, 32)).astype(np.float32)
    cubes_hu[0, :4] = 900.0
    table = ct_gan.equalisation(cubes_hu)
    assert len(table.hu) <= 1024
    assert table.high == pytest.approx(32**3)
    assert table.mean == pytest.approx(32**3 / 2, rel=0.02)
    unit = table.forward(cubes_hu)
    assert np.abs(unit).max() <= 0.51
    shares, _ = np.histogram(unit, bins=8, range=(-0.5, 0.5))
    assert shares[:7] == pytest.approx(np.full(7, cubes_hu.size / 8), rel=0.05)
    assert np.abs(table.back(unit) - cubes_hu).mean() < 0.1
    assert Equalisation.of({"equalisation": table.to_json()}).mean == table.mean


# --- learning ---


def test_it_learns_a_few_cubes_by_heart(seen, tmp_path):
    learner = Learner(replace(RECIPE, width=4, batch=4), seen, 1, 16)
    fit(learner, Budget(16, save_every=4), tmp_path, {})
    lines = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()[1:]]
    assert lines[-1]["mae"] < 0.6 * lines[0]["mae"]


def test_an_interrupted_run_ends_with_the_same_weights(seen, tmp_path):
    recipe = replace(RECIPE, average=0.9)
    whole, first, second = (Learner(recipe, seen, 1, 4) for _ in range(3))
    fit(whole, Budget(4), tmp_path / "whole", {})
    fit(first, Budget(2), tmp_path / "parts", {})
    fit(second, Budget(4), tmp_path / "parts", {})
    assert all(same(part, second.parts[name]) for name, part in whole.parts.items())
    assert not same(whole.result, whole.generator)


def test_the_discriminator_learns_at_its_own_rate(seen):
    for rate, moves in ((0.0, False), (1e-2, True)):
        learner = Learner(replace(RECIPE, discriminator_rate=rate), seen, 1, 1)
        before = {name: value.clone() for name, value in learner.discriminator.named_parameters()}
        learner.step(0, np.random.default_rng(0))
        moved = any(not torch.equal(value, before[name]) for name, value in learner.discriminator.named_parameters())
        assert moved == moves


def test_the_hole_is_hidden_from_the_generator(seen):
    masked = ct_gan.cleared(torch.from_numpy(seen[:, None]))
    assert (masked[:, :, 6:26, 6:26, 6:26] == 0).all()
    assert torch.equal(masked[:, :, :6], torch.from_numpy(seen[:, None, :6]))


def test_what_was_trained_forges(chest, tmp_path):
    said, ticked = [], []
    path = ct_gan.train(
        [Source(chest)],
        RECIPE,
        Budget(2, save_every=1),
        tmp_path,
        {"volumes": 1},
        say=said.append,
        tick=lambda *state: ticked.append(state),
    )
    assert path.name == "ct-gan-remove.onnx"
    assert len(said) == 2
    assert {"cutting cubes", "training"} == {what for what, _, _ in ticked}
    attack = CtGan("remove", Network("ct-gan-remove", tmp_path))
    card = attack.network.card
    assert card["training"]["steps"] == 2
    assert card["training"]["volumes"] == 1
    assert card["training"]["recipe"]["discriminator_rate"] == 1e-6
    forgery = attack.apply(chest, attack.sample(chest, np.random.default_rng(0)))
    assert forgery.mask.any()
    assert np.isfinite(forgery.volume.voxels).all()


def test_a_folder_with_another_network_is_refused(seen, tmp_path):
    fit(Learner(RECIPE, seen, 1, 1), Budget(1), tmp_path, {})
    with pytest.raises(WeightsError, match="other settings"):
        fit(Learner(replace(RECIPE, width=3), seen, 1, 1), Budget(2), tmp_path, {})
