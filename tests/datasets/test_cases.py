from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tamperscope import forge_set, phantom
from tamperscope.datasets import cases, table
from tamperscope.errors import InputError

RECIPE = """
name = "trial"
[[forgery]]
attack = "nodule"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The entries of a set of one study: a forgery, and its twin."""
    folder = tmp_path_factory.mktemp("cases")
    phantom.write_dicom(phantom.chest((6, 64, 64), (2.5, 5.0, 5.0), np.random.default_rng(1)), folder / "study")
    (folder / "R.toml").write_text(RECIPE)
    forge_set.make([folder / "study"], folder / "R.toml", folder / "set")
    return table.read(folder / "set").entries


def test_files_of_one_series_make_one_case_with_its_truth(made):
    groups = cases.by_series(made)
    assert [len(group) for group in groups] == [6, 6]
    opened = [cases.opened(group) for group in groups]
    (forged,), (twin,) = ([one for one in opened if one.forged == wanted] for wanted in (True, False))
    assert forged.volume.shape == forged.mask.shape == (6, 64, 64)
    assert np.array_equal(forged.mask, forged.volume.voxels != twin.volume.voxels)
    assert not twin.mask.any()
    ((k, j, i),) = forged.places
    assert forged.mask[max(k - 2, 0) : k + 3, j - 3 : j + 4, i - 3 : i + 4].any()
    assert twin.places == ()
    assert forged.groups["generator"] == "nodule"
    assert twin.groups["generator"] == "none"
    assert forged.groups["thickness"] == "1.5 to 3.0 mm"
    assert forged.name != twin.name


def test_a_forgery_of_which_nobody_says_where_has_no_mask(made):
    group = [replace(entry, mask=None) for entry in made if entry.label == "forged"]
    case = cases.opened(tuple(group))
    assert case.mask is None
    assert case.forged


def test_pictures_stand_alone_and_take_modality_and_place_from_the_manifest(tmp_path):
    voxels = phantom.radiograph((40, 32)).voxels[0].astype(np.uint16)
    entries = []
    for name, label in (("a", "authentic"), ("b", "forged")):
        Image.fromarray(voxels).save(tmp_path / f"{name}.png")
        entry = cases.Entry(
            tmp_path / f"{name}.png", "films", "p", "", "", label=label, modality="DX", places=((7, 9),)
        )
        entries.append(entry)
    groups = cases.by_series(entries)
    assert len(groups) == 2
    case = cases.opened(groups[1])
    assert (case.volume.modality, case.name) == ("DX", "films/p/b.png")
    assert case.places == ((0, 7, 9),)


def test_labels_that_differ_inside_a_series_and_masks_of_another_size_are_refused(made, tmp_path):
    forged = [entry for entry in made if entry.label == "forged"]
    with pytest.raises(InputError, match="different labels"):
        cases.by_series([replace(forged[0], label="authentic"), *forged[1:]])
    mask = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), mask)
    with pytest.raises(InputError, match=r"\(6, 64, 64\), its mask \(4, 4, 4\)"):
        cases.opened(tuple(replace(entry, mask=mask) for entry in forged))


def test_a_group_that_is_two_series_is_refused(made):
    mixed = tuple(replace(entry, series="one", label="authentic") for entry in made)
    with pytest.raises(InputError, match="is 2 series"):
        cases.opened(mixed)


def test_a_mask_of_a_large_series_packs_better_than_any_picture_and_is_read_all_the_same(made, tmp_path):
    chest = phantom.chest((40, 256, 256), (2.5, 1.2, 1.2), np.random.default_rng(1))
    phantom.write_dicom(chest, tmp_path / "study")
    changed = np.zeros(chest.shape, dtype=np.uint8)
    changed[20, 100:110, 90:100] = 1
    nib.save(nib.Nifti1Image(changed.transpose(2, 1, 0), np.eye(4)), tmp_path / "mask.nii.gz")
    first = next(entry for entry in made if entry.label == "forged")
    files = sorted((tmp_path / "study").iterdir())
    group = tuple(replace(first, path=path, mask=tmp_path / "mask.nii.gz", places=()) for path in files)
    assert changed.size > 100 * (tmp_path / "mask.nii.gz").stat().st_size + 2**20
    assert cases.opened(group).mask.sum() == 100
