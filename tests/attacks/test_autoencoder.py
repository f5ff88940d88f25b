from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generative import VOLUMES, check_laws, network
from tamperscope import phantom
from tamperscope.attacks.autoencoder import TILE, UPSAMPLINGS, WINDOW_HU, Autoencoder, reconstruct
from tamperscope.errors import AttackError

pytest.importorskip("onnx", reason="the extra [train] is not installed")

REACHES = ("region", "whole")


def graph(name: str, mode: str) -> str:
    """The mean of 4 x 4 pixels, and up-sampling by four: what the bottleneck of an autoencoder does at its worst."""
    return f"""{name} (float[1,1,H,W] picture) => (float[1,1,H,W] answer) {{
        small = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(picture)
        scales = Constant<value_floats = [1.0, 1.0, 4.0, 4.0]>()
        answer = Resize<mode = "{mode}", coordinate_transformation_mode = "half_pixel">(small, , scales)
    }}"""


def networks(folder):
    modes = {"nearest": "nearest", "bilinear": "linear", "transposed": "cubic", "shuffle": "nearest"}
    return tuple(network(folder, f"mean{kind}", graph(f"mean{kind}", modes[kind])) for kind in UPSAMPLINGS)


@pytest.fixture
def attacks(tmp_path):
    """Two equal pairs of attacks, each with networks of its own."""
    return [{reach: Autoencoder(reach, networks(tmp_path)) for reach in REACHES} for _ in range(2)]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("reach", REACHES)
def test_it_obeys_the_laws(attacks, reach, name):
    check_laws(attacks[0][reach], attacks[1][reach], VOLUMES[name])


@pytest.mark.parametrize("name", ["chest", "radiograph"])
@pytest.mark.parametrize("kind", UPSAMPLINGS)
def test_the_whole_picture_is_reconstructed_in_place(attacks, name, kind):
    volume = VOLUMES[name]
    network_of = attacks[0]["whole"].networks[UPSAMPLINGS.index(kind)]
    params = {"upsampling": kind, "network": network_of.card["sha256"]}
    forgery = attacks[0]["whole"].apply(volume, params)
    assert forgery.mask.mean() > 0.3
    assert np.corrcoef(forgery.volume.voxels.ravel(), volume.voxels.ravel())[0, 1] > 0.8


def test_a_region_is_what_the_whole_would_be_there(attacks, no_grain):
    volume = phantom.chest((3, 200, 200), (2.5, 1.8, 1.8))
    params = attacks[0]["region"].sample(volume, np.random.default_rng(0), (1, 103, 98)) | no_grain
    region = attacks[0]["region"].apply(volume, params | {"window": "hard", "size_mm": 57.6})
    whole = attacks[0]["whole"].apply(volume, params).volume.voxels
    assert region.mask.any()
    assert np.array_equal(region.volume.voxels[region.mask], whole[region.mask])


def test_tiles_leave_no_seam(tmp_path):
    rng = np.random.default_rng(0)
    voxels = rng.normal(-500.0, 200.0, (1, TILE + 40, 2 * TILE + 4)).astype(np.float32)
    pool = "answer = AveragePool<kernel_shape = [9, 9], pads = [4, 4, 4, 4]>(picture)"
    blur = network(tmp_path, "blur", f"blur (float[1,1,H,W] picture) => (float[1,1,H,W] answer) {{ {pool} }}")
    tiled = reconstruct(blur, voxels, WINDOW_HU)
    shifted = reconstruct(blur, np.roll(voxels, (-64, -64), (1, 2)), WINDOW_HU)
    inner = np.s_[0, 64 + 8 : -8, 64 + 8 : -8]
    assert tiled[inner] == pytest.approx(np.roll(shifted, (64, 64), (1, 2))[inner], abs=0.01)


def test_what_lies_beyond_the_window_is_kept(attacks, make):
    voxels = np.full((1, 32, 32), -300.0)
    voxels[:, 8:16, 8:16] = 2500.0
    volume = make(voxels)
    params = attacks[0]["whole"].sample(volume, np.random.default_rng(1)) | {"upsampling": "nearest"}
    params |= {"network": attacks[0]["whole"].networks[0].card["sha256"]}
    assert np.array_equal(attacks[0]["whole"].apply(volume, params).volume.voxels, volume.voxels)


def test_sides_that_are_no_multiple_of_four_are_kept(attacks):
    volume = phantom.radiograph((61, 47))
    forgery = attacks[0]["whole"].apply(volume, attacks[0]["whole"].sample(volume, np.random.default_rng(0)))
    assert forgery.volume.shape == (1, 61, 47)
    assert forgery.mask[:, -1].any()


def test_every_kind_is_drawn_and_an_unknown_one_refused(attacks):
    attack, volume = attacks[0]["whole"], VOLUMES["radiograph"]
    drawn = [attack.sample(volume, np.random.default_rng(seed)) for seed in range(30)]
    assert {params["upsampling"] for params in drawn} == set(UPSAMPLINGS)
    with pytest.raises(AttackError, match="'fourier'"):
        attack.apply(volume, drawn[0] | {"upsampling": "fourier"})


def test_a_record_made_with_other_weights_is_refused(attacks):
    attack, volume = attacks[0]["whole"], VOLUMES["radiograph"]
    params = attack.sample(volume, np.random.default_rng(0))
    with pytest.raises(AttackError, match="made with mean"):
        attack.apply(volume, params | {"network": "0" * 64})


def test_a_place_outside_is_refused(attacks):
    attack, volume = attacks[0]["region"], VOLUMES["chest"]
    with pytest.raises(AttackError, match="outside"):
        attack.sample(volume, np.random.default_rng(0), (10, 0, 0))


def test_a_constant_picture_stays_finite(attacks):
    volume = replace(VOLUMES["radiograph"], voxels=np.full((1, 20, 20), 7.0, np.float32))
    for reach in REACHES:
        attack = attacks[0][reach]
        forged = attack.apply(volume, attack.sample(volume, np.random.default_rng(0))).volume.voxels
        assert np.isfinite(forged).all()


def test_names():
    assert [Autoencoder(reach).name for reach in REACHES] == ["autoencoder-region", "autoencoder-whole"]
