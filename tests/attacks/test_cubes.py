from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope import phantom
from tamperscope.attacks import Chain, Compress, CtGanBlend, Inpaint, Nodule, cubes
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


@pytest.mark.parametrize("modality", ["DX", "MR"])
def test_a_place_in_a_radiograph_is_in_the_tissue(make, modality):
    film = limb(make, modality)
    places = cubes.choose_places(film, np.random.default_rng(0), 50)
    assert all(20 <= i < 76 for _, _, i in places)


def limb(make, modality="DX", photometric="MONOCHROME2"):
    """Air beside a limb, 96 pixels of 1 mm a side."""
    picture = np.random.default_rng(2).normal(100.0, 10.0, (1, 96, 96))
    picture[:, :, 24:72] += 900.0
    picture[:, :, 40:56] += 1500.0
    picture = np.rint(picture if photometric == "MONOCHROME2" else 4000.0 - picture)
    return replace(make(picture), modality=modality, photometric=photometric)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_air_beside_a_limb_is_outside_the_body_however_it_is_stored(make, photometric):
    film = limb(make, photometric=photometric)
    cubes.check_inside_body(film, (0, 40, 30))
    cubes.check_inside_body(film, (0, 40, 50))
    with pytest.raises(AttackError, match=r"\(0, 40, 5\) lies outside the body \(in slice 0 it spans rows 0 to 95"):
        cubes.check_inside_body(film, (0, 40, 5))


def test_air_round_the_chest_is_outside_the_body():
    chest = phantom.chest((4, 128, 128), (2.5, 2.8, 2.8))
    cubes.check_inside_body(chest, (2, 64, 64))
    cubes.check_inside_body(chest, (2, 64, 40))
    with pytest.raises(AttackError, match="columns"):
        cubes.check_inside_body(chest, (2, 4, 4))
    with pytest.raises(AttackError, match="outside the volume"):
        cubes.check_inside_body(chest, (4, 64, 64))


def test_a_slice_without_the_patient_says_which_slices_show_him(make):
    voxels = np.full((4, 64, 64), -1000.0)
    voxels[2:, 12:52, 12:52] = 40.0
    with pytest.raises(AttackError, match="slice 0 shows none; slices 2 to 3 do"):
        cubes.check_inside_body(make(voxels), (0, 30, 30))


def test_where_no_body_is_found_any_place_will_do(make):
    cubes.check_inside_body(make(np.full((2, 32, 32), -1000.0)), (1, 0, 0))


@pytest.mark.parametrize(
    ("region", "least", "most"), [("lungs", -1024, 300), ("bones", 20, 3071), ("body", -1024, 3071)]
)
def test_a_place_is_found_in_the_region_that_was_asked_for(region, least, most):
    chest = phantom.chest((4, 192, 192), (2.5, 1.9, 1.9))
    for seed in range(4):
        place = cubes.place_in(chest, np.random.default_rng(seed), region)
        assert least <= chest.voxels[place] <= most
        cubes.check_inside_body(chest, place)


def test_a_region_that_does_not_exist_is_refused(make, lung):
    rng = np.random.default_rng(0)
    with pytest.raises(AttackError, match="lungs, bones, body"):
        cubes.place_in(lung, rng, "heart")
    with pytest.raises(AttackError, match="no bones found"):
        cubes.place_in(lung, rng, "bones")
    with pytest.raises(AttackError, match="in CT only, this is DX"):
        cubes.place_in(limb(make), rng, "lungs")
    assert cubes.place_in(limb(make), rng, "body")[0] == 0


def test_what_cannot_be_forged_is_refused_with_the_sizes(make):
    small = make(np.zeros((3, 24, 40)), (2.5, 0.5, 0.5))
    with pytest.raises(AttackError, match=r"needs 32 x 32 mm in the slice plane, the picture is 12.0 x 20.0 mm"):
        cubes.require(small, CtGanBlend("inject"))
    with pytest.raises(AttackError, match="made for CT, this is MR"):
        cubes.require(replace(small, modality="MR"), Nodule())
    with pytest.raises(AttackError, match="no pixel spacing"):
        cubes.require(replace(small, geometry="none"), Inpaint())
    cubes.require(small, Inpaint())


def test_a_chain_needs_what_its_steps_need(make):
    small = make(np.zeros((3, 24, 40)), (2.5, 0.5, 0.5))
    cubes.require(small, Chain((Compress(), Inpaint())))
    with pytest.raises(AttackError, match="ct-gan-blend-remove needs"):
        cubes.require(small, Chain((Compress(), CtGanBlend("remove"))))


def test_a_ball_is_measured_in_millimetres_and_cut_at_the_border(make):
    volume = make(np.zeros((20, 64, 64)), (2.5, 0.5, 0.8))
    where, distance = cubes.ball(volume, (10, 30, 30), 10.0)
    assert where == (slice(6, 15), slice(10, 51), slice(18, 43))
    assert distance.shape == (9, 41, 25)
    assert distance[4, 20, 12] == 0.0
    assert distance[4, 40, 12] == pytest.approx(1.0)
    where, distance = cubes.ball(volume, (0, 2, 63), 10.0)
    assert where == (slice(0, 5), slice(0, 23), slice(51, 64))
    assert distance[0, 2, 12] == 0.0


def test_a_plain_place_has_noise_and_no_edges(lung):
    lung.voxels[:, :, :30] = -1024.0
    lung.voxels[:, ::8, 30::8] = 40.0
    lung.voxels[:, 20:40] = -850.0 + np.random.default_rng(3).normal(0.0, 20.0, (48, 20, 48))
    places = [cubes.plain_place(lung, (4, 10, 10), np.random.default_rng(seed)) for seed in range(5)]
    assert all(22 <= j <= 37 for _, j, _ in places)
