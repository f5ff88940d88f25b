from __future__ import annotations

import numpy as np
import pytest

from datasets import fakes
from tamperscope.datasets import btd, images
from tamperscope.errors import UnreadableError, UnsafePathError


@pytest.fixture
def root(tmp_path):
    fakes.btd(tmp_path)
    return tmp_path


def test_labels_generators_and_places_are_those_of_the_tables(root):
    found = {entry.path.relative_to(root).as_posix(): entry for entry in btd.entries(root)}
    assert len(found) == 10
    twice = found["CT/injection/slices/injection_a1.npy"]
    assert (twice.label, twice.generator, twice.places) == ("forged", "ct-gan", ((20, 12), (8, 30)))
    assert found["CT/removal/slices/removal_b2.npy"].generator == "stable-diffusion"
    assert found["MRI/removal_m1_fake.png"].generator == "stable-diffusion"
    assert found["MRI/removal_m1_fake.png"].modality == "MR"
    authentic = found["CT/injection/slices/c3.npy"]
    assert (authentic.label, authentic.places, authentic.modality) == ("authentic", (), "CT")


def test_a_forgery_and_its_original_are_one_patient(root):
    patients = {entry.path.name: entry.patient for entry in btd.entries(root) if entry.modality == "MR"}
    assert patients["removal_m1_fake.png"] == patients["removal_m1.png"] == patients["injection_m1.png"]


def test_arrays_are_read_as_numbers(root):
    path = root / "CT/injection/slices/c3.npy"
    assert np.array_equal(images.planes(path)[0], np.load(path).astype(np.float32))


def test_the_types_of_ct_gan_are_known_too(root):
    table = root / "MRI/MRI_injection.csv"
    text = table.read_text(encoding="utf-8").replace("\n1,", "\nFM,").replace("\n0,", "\nTB,")
    table.write_text(text, encoding="utf-8")
    labels = {entry.path.name: entry.label for entry in btd.entries(root)}
    assert (labels["injection_m1_fake.png"], labels["injection_m1.png"]) == ("forged", "authentic")


def test_an_unknown_type_is_refused_by_name(root):
    table = root / "MRI/MRI_injection.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("\n1,", "\nmaybe,"), encoding="utf-8")
    with pytest.raises(UnreadableError, match="unknown label 'maybe'"):
        btd.entries(root)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "C:/x.png", "a/../../b.npy"])
def test_a_table_cannot_name_a_file_outside(root, name):
    table = root / "MRI/MRI_injection.csv"
    table.write_text(f"type,path,x,y\n1,{name},1,1\n", encoding="utf-8")
    with pytest.raises(UnsafePathError, match="outside its folder"):
        btd.entries(root)


def test_windows_separators_are_understood(root):
    table = root / "MRI/MRI_injection.csv"
    table.write_text("type,path,x,y\n1,MRI\\injection_m1_fake.png,1,1\n", encoding="utf-8")
    assert any(entry.path.name == "injection_m1_fake.png" for entry in btd.entries(root))


def test_missing_tables_and_slices_are_told_apart(root):
    (root / "CT/removal/CT_removal.csv").unlink()
    (root / "CT/injection/slices/injection_b2.npy").unlink()
    table, slices = btd.check(root).missing
    assert "CT_removal.csv" in table
    assert "1 slices" in slices
    assert "injection_b2.npy" in slices
