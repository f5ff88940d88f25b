from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope import phantom
from tamperscope.attacks import lung_grid
from tamperscope.errors import InputError
from tamperscope.train.lung_cubes import SINGLES_SHARE, LungCubes, sources

WHOLE = phantom.chest((24, 120, 120), (2.5, 3.0, 3.0), np.random.default_rng(1))
SINGLE = phantom.chest((1, 120, 120), (2.5, 3.0, 3.0), np.random.default_rng(2))


@pytest.fixture(scope="module")
def cubes():
    return LungCubes(sources([("a", WHOLE)]), (5.0, 16.0), seed=1)


def test_cubes_are_lung_on_the_grid(cubes):
    rng = np.random.default_rng(0)
    drawn = [cubes.healthy(rng) for _ in range(30)]
    assert all(cube.shape == lung_grid.SHAPE and cube.dtype == np.float32 for cube in drawn)
    assert np.median([cube[8, 16, 16] for cube in drawn]) < -600.0
    assert all(np.isfinite(cube).all() and cube.min() >= -1024.0 for cube in drawn)


def test_clear_cubes_show_lung_in_their_middle(cubes):
    rng = np.random.default_rng(1)
    middles = [cubes.clear(rng)[5:11, 10:22, 10:22].mean() for _ in range(30)]
    assert np.mean([-950.0 < middle < -600.0 for middle in middles]) > 0.9


def test_a_nodule_raises_the_middle_and_spares_the_rest(cubes):
    rng = np.random.default_rng(0)
    drawn = [cubes.with_nodule(rng) for _ in range(40)]
    for cube, diameter in drawn:
        assert cube.shape == lung_grid.SHAPE
        assert 5.0 <= diameter <= 16.0
        assert cube[7:9, 15:17, 15:17].mean() > -400.0
    wide = [np.median(cube[[0, -1]]) for cube, _ in drawn]
    assert np.median(wide) < -600.0


def test_the_same_generator_draws_the_same(cubes):
    for draw in (cubes.healthy, cubes.clear, lambda rng: cubes.with_nodule(rng)[0]):
        assert np.array_equal(draw(np.random.default_rng(3)), draw(np.random.default_rng(3)))
        assert not np.array_equal(draw(np.random.default_rng(3)), draw(np.random.default_rng(4)))


def test_a_single_slice_becomes_sixteen_equal_ones():
    made = LungCubes(sources([("b", SINGLE)]), (5.0, 16.0), seed=1)
    cube = made.healthy(np.random.default_rng(0))
    assert cube.shape == lung_grid.SHAPE
    assert (cube == cube[0]).all()


def test_patients_weigh_the_same_and_single_slices_their_share():
    made = sources([("a", WHOLE), ("a", WHOLE), ("c", WHOLE), ("b", SINGLE), ("b", SINGLE), ("d", SINGLE)])
    weights = [one.weight for one in made]
    assert sum(weights) == pytest.approx(1.0)
    assert sum(weights[3:]) == pytest.approx(SINGLES_SHARE)
    assert weights[0] + weights[1] == pytest.approx(weights[2])
    assert weights[3] + weights[4] == pytest.approx(weights[5])


@pytest.mark.parametrize("kept", [[WHOLE, WHOLE], [SINGLE, SINGLE]])
def test_one_kind_alone_has_all_the_weight(kept):
    assert sum(one.weight for one in sources(enumerate(kept))) == pytest.approx(1.0)


def test_without_lung_there_is_nothing_to_train_on():
    water = replace(WHOLE, voxels=np.full((4, 64, 64), 30.0, np.float32))
    assert sources([("a", water)]) == ()
    with pytest.raises(InputError, match="no volume with a lung"):
        LungCubes((), (5.0, 16.0), seed=1)
