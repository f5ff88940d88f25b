from __future__ import annotations

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import cubes
from tamperscope.errors import AttackError


@pytest.mark.parametrize("kind", cubes.WINDOWS)
@pytest.mark.parametrize("shape", [(9, 41, 41), (1, 40, 36), (2, 3, 2), (1, 1, 1)])
def test_every_window_is_a_weight(kind, shape):
    window = cubes.window(kind, shape)
    assert window.shape == shape
    assert window.dtype == np.float32
    assert window.min() >= 0.0
    assert window.max() <= 1.0


def test_the_dome_is_half_at_the_middle_of_an_edge_and_nothing_in_a_corner():
    dome = cubes.window("dome", (5, 41, 41))
    assert dome[2, 20, 20] == pytest.approx(1.0)
    assert dome[2, 20, 0] == pytest.approx(0.5, abs=0.01)
    assert dome[2, 0, 20] == pytest.approx(0.5, abs=0.01)
    assert dome[2, 0, 0] == 0.0
    assert np.array_equal(dome[0], dome[4]), "alike on every slice"


def test_the_gauss_window_is_three_sigma_wide():
    gauss = cubes.window("gauss", (3, 61, 61))[1]
    assert gauss[30, 30] == pytest.approx(1.0)
    for pixels in (10, 20, 30):
        sigmas = 3.0 * pixels / 30.5
        assert gauss[30, 30 + pixels] == pytest.approx(np.exp(-(sigmas**2) / 2), abs=0.005)
    assert gauss[0, 0] == 0.0


def test_an_unknown_window_is_refused_with_the_known_ones():
    with pytest.raises(AttackError, match="tukey"):
        cubes.window("round", (3, 3, 3))


def test_copied_air_has_zero_mean_and_no_vessel():
    rng = np.random.default_rng(0)
    cube = rng.normal(-900.0, 20.0, (4, 16, 16)).astype(np.float32)
    cube[:, :6, :6] = 40.0
    noise = cubes.copied_air(cube)
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    assert not noise[:, :6, :6].any()
    assert noise[:, 6:, 6:].std() == pytest.approx(20.0, rel=0.1)


def test_a_dense_place_gives_no_noise_to_copy_and_a_residual_all_the_same(make):
    dense = make(np.rint(np.random.default_rng(0).normal(40.0, 10.0, (3, 32, 32))))
    where = cubes.around(dense, (1, 16, 16), (3, 20, 20))
    params = {"grain_gain": 1.0, "grain_at": [1, 16, 16], "seed": 3}
    assert not cubes.grain(dense, where, params | {"grain": "copied"}).any()
    residual = cubes.grain(dense, where, params | {"grain": "residual"})
    assert abs(float(residual.mean())) < 0.5
    assert 5.0 < residual.std() < 11.0


@pytest.mark.parametrize("kind", cubes.GRAINS)
def test_grain_has_the_shape_of_its_place_and_about_its_strength(lung, kind):
    where = cubes.around(lung, (20, 20, 20), (8, 24, 24))
    noise = cubes.grain(lung, where, {"grain": kind, "grain_gain": 1.0, "grain_at": [30, 20, 20], "seed": 3})
    assert noise.shape == (8, 24, 24)
    assert noise.dtype == np.float32
    assert (noise.std() == 0.0) if kind == "none" else (10.0 < noise.std() < 30.0)


def test_grain_from_a_spectrum_has_that_spectrum(lung):
    where = cubes.around(lung, (20, 20, 20), (4, 16, 16))
    params = {"grain": "spectrum", "grain_gain": 1.0, "grain_at": [30, 20, 20], "seed": 3}
    copied, drawn = (
        np.abs(np.fft.fft2(cubes.grain(lung, where, params | {"grain": g}))) for g in ("residual", "spectrum")
    )
    np.testing.assert_allclose(drawn, copied, atol=0.02)


def test_a_cube_at_the_border_is_moved_inside(lung):
    for centre in [(0, 0, 0), (47, 47, 47)]:
        where = cubes.around(lung, centre, (8, 9, 10))
        assert [s.stop - s.start for s in where] == [8, 9, 10]
        assert all(s.start >= 0 and s.stop <= 48 for s in where)


def test_a_cube_larger_than_the_volume_is_the_volume(lung):
    assert cubes.around(lung, (3, 3, 3), (99, 99, 99)) == (slice(0, 48),) * 3


def test_extent_counts_voxels_and_stops_at_the_volume(make):
    volume = make(np.zeros((20, 64, 64)), (2.5, 0.5, 0.8))
    assert cubes.extent(volume, 32.0) == (13, 64, 40)
    assert cubes.extent(volume, 0.1) == (1, 1, 1)
    assert cubes.extent(volume, 900.0) == (20, 64, 64)


def test_resizing_keeps_a_constant_and_leaves_equal_axes():
    cube = np.full((3, 8, 8), 7.0, np.float32)
    for order in (1, 3, 5):
        np.testing.assert_allclose(cubes.resize(cube, (3, 12, 5), order), np.full((3, 12, 5), 7.0), rtol=1e-5)
    assert cubes.resize(cube, (3, 8, 8), 3) is cube


def test_a_place_is_chosen_in_the_lungs_where_there_are_any():
    volume = phantom.chest((4, 128, 128), (2.5, 2.8, 2.8))
    for seed in range(5):
        k, j, i = cubes.choose_place(volume, np.random.default_rng(seed), None)
        around = volume.voxels[k, max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5]
        assert around.min() < -700.0, "lung or its border"


def test_a_similar_place_has_a_similar_value():
    volume = phantom.chest((4, 64, 64), (2.5, 5.6, 5.6))
    like = (2, 32, 32)
    places = [cubes.similar_place(volume, like, np.random.default_rng(seed)) for seed in range(10)]
    assert all(abs(volume.voxels[place] - volume.voxels[like]) < cubes.SIMILAR for place in places)
    assert len(set(places)) > 1
