from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets import fakes
from tamperscope.datasets import m3dsynth
from tamperscope.errors import InputError, UnreadableError, UnsafePathError


@pytest.fixture
def root(tmp_path):
    fakes.m3dsynth(tmp_path)
    return tmp_path


def test_the_patient_is_that_of_the_table_and_twins_share_it(root):
    series = {entry.series: (entry.patient, entry.label, entry.generator) for entry in m3dsynth.entries(root)}
    assert series == {
        "real/inj_1": ("LIDC-IDRI-0003", "authentic", ""),
        "real/inj_3": ("LIDC-IDRI-0129", "authentic", ""),
        "real/rem_4": ("LIDC-IDRI-0440", "authentic", ""),
        "pix2pix/inj_1": ("LIDC-IDRI-0003", "forged", "m3dsynth-pix2pix"),
        "cycle/rem_2": ("LIDC-IDRI-0003", "forged", "m3dsynth-cycle"),
        "diffusion/inj_3": ("LIDC-IDRI-0129", "forged", "m3dsynth-diffusion"),
        "pix2pix/rem_4": ("LIDC-IDRI-0440", "forged", "m3dsynth-pix2pix"),
    }


def test_a_pristine_scan_under_many_names_counts_once(root):
    real = [entry for entry in m3dsynth.entries(root) if entry.label == "authentic"]
    assert len(real) == 9
    assert not any("rem_2" in entry.series for entry in real)


def test_masks_are_the_truth_of_each_slice(root):
    for entry in m3dsynth.entries(root):
        if entry.mask is None:
            assert entry.label == "authentic"
            continue
        mask = np.asarray(Image.open(entry.mask))
        assert mask.any() == (entry.path.stem == "slide0001")
    (place,) = {entry.places for entry in m3dsynth.entries(root) if entry.series == "diffusion/inj_3"}
    assert place == ((1, 12, 9),)


def test_the_published_sets_are_parts(root):
    parts = {entry.patient: entry.part for entry in m3dsynth.entries(root)}
    assert parts == {"LIDC-IDRI-0003": "train", "LIDC-IDRI-0129": "calibrate", "LIDC-IDRI-0440": "test"}


def test_a_folder_that_was_not_unpacked_is_named_with_its_archive(root):
    (root / "cycle").rename(root / "elsewhere")
    missing = m3dsynth.check(root).missing
    assert any("cycle/scan" in what and "1 of 1 (rem_2)" in what and "cycle.tgz" in what for what in missing)


def test_no_scan_of_the_tables_is_an_error(root):
    for mod in m3dsynth.MODS:
        (root / mod).rename(root / f"not-{mod}")
    with pytest.raises(UnreadableError, match="no scan"):
        m3dsynth.entries(root)


def test_a_patient_in_two_sets_is_refused(root):
    table = root / "data/sets.csv"
    table.write_text(table.read_text(encoding="utf-8") + "LIDC-IDRI-0003,test\n", encoding="utf-8")
    with pytest.raises(InputError, match="LIDC-IDRI-0003 into two sets"):
        m3dsynth.entries(root)


def test_an_unknown_generator_is_refused(root):
    table = root / "data/data.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("diffusion", "flow"), encoding="utf-8")
    with pytest.raises(UnreadableError, match="unknown mod 'flow'"):
        m3dsynth.entries(root)


def test_a_table_cannot_name_a_scan_outside(root):
    table = root / "data/data.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("inj_3", "../../inj_3"), encoding="utf-8")
    with pytest.raises(UnsafePathError, match="outside its folder"):
        m3dsynth.entries(root)
