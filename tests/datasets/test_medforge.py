from __future__ import annotations

import pytest

from datasets import fakes
from tamperscope.datasets import medforge
from tamperscope.errors import UnreadableError


@pytest.fixture
def root(tmp_path):
    fakes.medforge(tmp_path)
    return tmp_path


def test_an_edit_belongs_to_its_original_whatever_hyphens_the_names_hold(root):
    edits = {
        entry.path.name: (entry.patient, entry.grade) for entry in medforge.entries(root) if entry.label == "forged"
    }
    assert edits == {
        "a-1-pleural-effusion-edit.jpeg": ("chest-xray/a-1", "pleural-effusion"),
        "a-1-edema-edit.jpeg": ("chest-xray/a-1", "edema"),
        "b2-edema-remove.jpeg": ("chest-xray/b2", "edema"),
        "c3-glaucoma-edit.jpeg": ("fundus/c3", "glaucoma"),
    }


def test_the_editor_is_the_generator_and_the_folder_the_modality(root):
    found = {entry.path.name: entry for entry in medforge.entries(root)}
    assert found["a-1-edema-edit.jpeg"].generator == "flux"
    assert found["c3-glaucoma-edit.jpeg"].modality == found["c3.jpg"].modality == "OP"
    assert found["b2.jpg"].series == "chest-xray/normal"


def test_the_mapping_names_masks_by_the_paths_of_another_machine(root):
    masks = {entry.path.stem: entry.mask for entry in medforge.entries(root) if entry.label == "forged"}
    assert masks["a-1-edema-edit"] == root / "masks/flux/a-1-edema-edit.png"
    (root / medforge.MAPPING).unlink()
    assert {entry.mask for entry in medforge.entries(root)} == {None}


def test_the_original_of_every_edit_has_to_be_there(root):
    (root / "real/chest-xray/normal/b2.jpg").unlink()
    (missing,) = medforge.check(root).missing
    assert "chest-xray/b2" in missing


def test_a_name_without_its_disease_is_refused(root):
    (root / "deepfake/flux/fundus-edit/glaucoma/c3-glaucoma-edit.jpeg").rename(
        root / "deepfake/flux/fundus-edit/c3.jpeg"
    )
    with pytest.raises(UnreadableError, match=r"c3\.jpeg: not named"):
        medforge.entries(root)


def test_failed_edits_and_other_folders_are_left_alone(root):
    fakes.picture(root / "deepfake/flux/chest-xray-edit-failed/edema/a-1-edema-edit-failed-5.jpeg", 1)
    assert len(medforge.entries(root)) == 7
