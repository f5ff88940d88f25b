from __future__ import annotations

import pytest

from datasets import fakes
from tamperscope.datasets import folders


@pytest.fixture
def root(tmp_path):
    fakes.folders(tmp_path)
    return tmp_path


def test_patients_are_folders_or_names(root):
    found = {entry.path.relative_to(root).as_posix(): entry for entry in folders.entries(root)}
    assert found["real/P1/soft/IM0001.dcm"].patient == found["fake/P1/soft/IM0001.dcm"].patient == "P1"
    assert found["real/photo.png"].patient == found["fake-wgan/photo.png"].patient == "photo"
    assert found["fake/P1/soft/IM0001.dcm"].series == "fake/soft"


def test_the_folder_names_the_generator(root):
    generators = {entry.path.parent.name: entry.generator for entry in folders.entries(root) if entry.label == "forged"}
    assert generators == {"soft": "", "fake-wgan": "wgan"}


def test_masks_are_found_by_name(root):
    masks = {entry.path.name: entry.mask for entry in folders.entries(root) if entry.label == "forged"}
    assert masks["photo.png"] == root / "masks/fake-wgan/photo.png"
    assert masks["IM0002.dcm"] == root / "masks/P1/soft/IM0002.png"


def test_some_masks_are_a_promise_and_none_are_a_note(root):
    (root / "masks/fake-wgan/photo.png").unlink()
    (missing,) = folders.check(root).missing
    assert "mask of 1 forgeries" in missing
    for path in sorted((root / "masks").rglob("*.png")):
        path.unlink()
    for folder in sorted((root / "masks").rglob("*"), reverse=True):
        folder.rmdir()
    (root / "masks").rmdir()
    assert folders.check(root).complete
    assert any("no masks" in note for note in folders.check(root).notes)


def test_one_class_alone_is_incomplete(root):
    (root / "real").rename(root / "true")
    (missing,) = folders.check(root).missing
    assert missing.startswith("authentic images")


def test_notes_and_hidden_files_are_no_images_and_dicom_needs_no_suffix(root):
    (root / "real/P1/README.md").write_text("notes", encoding="utf-8")
    (root / "real/P1/.hidden.png").write_bytes(b"x")
    bare = root / "real/P2/IM0001.dcm"
    bare.rename(bare.with_name("IM0001"))
    names = [entry.path.name for entry in folders.entries(root)]
    assert "README.md" not in names
    assert ".hidden.png" not in names
    assert "IM0001" in names
