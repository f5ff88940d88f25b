from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from studies import image, stored, write
from tamperscope import phantom, source
from tamperscope.errors import AttackError, UnreadableError, UnsupportedError, UsageError

LUNG = (3, 70, 88)
"""A voxel of the phantom's lung."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "study"
    phantom.write_dicom(phantom.chest((6, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(1)), folder)
    return folder


@pytest.fixture(scope="module")
def volume(study):
    return source.opened(study).volume


def test_one_series_is_taken_and_several_have_to_be_named(study, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(study, both / "a")
    write([image("CT", stored((8, 8), 0, 9))], both / "b")
    with pytest.raises(UsageError, match=r"holds 2 series.*--series UID: .*\(CT, 6 images\).*\(CT, 1 image\)"):
        source.opened(both)
    uid = "1.2.826.0.1.7.1.1"
    assert source.opened(both, series_uid=uid).volume.shape == (1, 8, 8)
    with pytest.raises(UsageError, match=r"no series 1\.2\.3 in the study"):
        source.opened(both, series_uid="1.2.3")


def test_nothing_readable_colour_and_spacing_that_is_known_are_refused(study, tmp_path):
    with pytest.raises(UnreadableError):
        source.opened(tmp_path / "gone")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(UnsupportedError, match="grey"):
        source.opened(tmp_path / "colour.png")
    with pytest.raises(UsageError, match="states its spacing"):
        source.opened(study, spacing_mm=[1.0])


@pytest.mark.parametrize(("text", "numbers"), [(None, []), ("0.7", [0.7]), ("2.5, 0.7,0.7", [2.5, 0.7, 0.7])])
def test_spacing(text, numbers):
    assert source.spacing(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1,2", "0", "-1", "nan", "1,2,inf"])
def test_spacing_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="one number, or three"):
        source.spacing(text)


def test_a_place_in_voxels_and_in_millimetres(volume):
    assert source.place("88,70,3", volume) == LUNG
    x, y, z = volume.position_mm(LUNG)
    assert source.place(f"{x + 0.4}, {y}, {z}mm", volume) == LUNG
    film = phantom.radiograph((64, 64))
    assert source.place("30,20", film) == source.place("30,20,0", film) == (0, 20, 30)


@pytest.mark.parametrize("text", ["", "1", "1,2", "1,2,3,4", "a,b,c", "1.5,2,3", "1,2,3cm", "1e999,2,3", "1;2;3"])
def test_what_is_no_place_is_refused_with_an_example(volume, text):
    with pytest.raises(UsageError, match="210,180,64"):
        source.place(text, volume)


@pytest.mark.parametrize("text", ["128,0,0", "0,-1,0", "0,0,6", "0,0,9000mm"])
def test_a_place_outside_the_volume_is_refused_with_its_bounds(volume, text):
    with pytest.raises(AttackError, match=r"outside the volume.*columns 0 to 127"):
        source.place(text, volume)


def test_a_place_outside_the_body_and_millimetres_without_a_position_are_refused(volume):
    with pytest.raises(AttackError, match="outside the body"):
        source.place("1,1,3", volume)
    with pytest.raises(UsageError, match="no position"):
        source.place("1,1,3mm", replace(volume, geometry="spacing"))


def test_a_modality_that_contradicts_the_header_is_refused_and_a_donor_takes_what_it_does_not_state(study, tmp_path):
    assert source.opened(study, modality="ct").volume.modality == "CT"
    with pytest.raises(UsageError, match="states its modality, CT"):
        source.opened(study, modality="MR")
    assert source.donated(study, modality="MR", spacing_mm=[2.0]).spacing_mm == source.opened(study).volume.spacing_mm
    Image.fromarray(phantom.radiograph((64, 64)).voxels[0].astype(np.uint16)).save(tmp_path / "knee.png")
    donor = source.donated(tmp_path / "knee.png", modality="DX", spacing_mm=[0.3])
    assert (donor.modality, donor.spacing_mm) == ("DX", (0.3, 0.3, 0.3))
