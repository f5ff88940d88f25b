"""Slices as series: which are chosen, whose they are, and what a split by slices changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from sets import forged_set
from tamperscope import phantom, slice_set
from tamperscope.datasets import cases, leaks, table
from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate.outcomes import CHANGED_VOXELS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six drawn patients of four slices, each with a forgery and its twin; three train and three calibrate."""
    return forged_set(tmp_path_factory.mktemp("slices"), patients=6)


def opened(path):
    return [cases.opened(group) for group in cases.by_series(table.read(path).entries)]


def test_every_slice_is_a_series_with_its_own_truth(made, tmp_path):
    outcome = slice_set.make(made, tmp_path / "out")
    whole = {case.name: case for case in opened(made)}
    found = opened(tmp_path / "out")
    assert outcome.lacking == 0
    assert Counter(case.forged for case in found)[True] == len(found) / 2
    for case in found:
        name, _, k = case.name.rpartition("/")
        assert case.volume.shape[0] == 1
        assert np.array_equal(case.volume.voxels[0], whole[name].volume.voxels[int(k)])
        assert np.array_equal(case.mask[0], whole[name].mask[int(k)])
        assert case.forged == (case.mask.sum() >= CHANGED_VOXELS)
    expected = sum((case.mask.sum(axis=(1, 2)) >= CHANGED_VOXELS).sum() for case in whole.values())
    assert sum(case.forged for case in found) == expected


def test_the_authentic_slice_is_that_of_the_twin(made, tmp_path):
    slice_set.make(made, tmp_path / "out")
    found = opened(tmp_path / "out")
    for case in (one for one in found if one.forged):
        k = case.name.rpartition("/")[2]
        (twin,) = (o for o in found if not o.forged and o.patient == case.patient and o.name.endswith(f"/{k}"))
        assert np.array_equal(twin.volume.voxels != case.volume.voxels, case.mask)


def test_places_lie_in_their_slice(made, tmp_path):
    slice_set.make(made, tmp_path / "out")
    whole = {case.name: case for case in opened(made)}
    for case in opened(tmp_path / "out"):
        name = case.name.rpartition("/")[0]
        assert case.places == tuple((0, row, column) for _, row, column in whole[name].places)


def test_a_split_by_patient_does_not_leak_and_one_by_slices_does(made, tmp_path):
    by_patient = slice_set.make(made, tmp_path / "a")
    by_slice = slice_set.make(made, tmp_path / "b", by="slice", seed=1)
    assert leaks.find(by_patient.entries, pixels=False) == ()
    assert {leak.kind for leak in leaks.find(by_slice.entries, pixels=False)} == {"patient"}

    def count(outcome):
        return Counter((entry.label, entry.generator, entry.part) for entry in outcome.entries)

    assert count(by_patient) == count(by_slice)
    assert {entry.sha256 for entry in by_patient.entries} == {entry.sha256 for entry in by_slice.entries}
    # What is cut already is not cut again.
    again = slice_set.make(tmp_path / "a", tmp_path / "c", by="slice", seed=1)
    assert count(again) == count(by_slice)
    assert {(e.series, e.sha256) for e in again.entries} == {(e.series, e.sha256) for e in by_patient.entries}


def test_with_one_label_no_patient_has_slices_of_both(made, tmp_path):
    whole = slice_set.make(made, tmp_path / "whole")
    halves = slice_set.make(made, tmp_path / "a", one_label=True, seed=3)
    mixed = slice_set.make(made, tmp_path / "b", one_label=True, by="slice", seed=3)
    labels = {entry.patient: entry.label for entry in halves.entries}
    assert all(labels[entry.patient] == entry.label for entry in halves.entries)
    assert set(labels) == {entry.patient for entry in whole.entries}
    for part in ("train", "calibrate"):
        found = {entry.patient: entry.label for entry in halves.entries if entry.part == part}
        assert abs(list(found.values()).count("forged") - list(found.values()).count("authentic")) <= 1
    kept = {(entry.series, entry.label) for entry in halves.entries}
    assert kept == {(entry.series, entry.label) for entry in mixed.entries}
    assert kept == {(e.series, e.label) for e in whole.entries if labels[e.patient] == e.label}
    assert leaks.find(halves.entries, pixels=False) == ()
    assert leaks.find(mixed.entries, pixels=False)


def test_a_generator_that_was_held_out_stays_so():
    from pathlib import Path

    from tamperscope.datasets.manifest import Entry

    rows = [
        Entry(Path(f"{n}"), "c", f"p{n}", "", "", label="forged", generator=name, part=part)
        for n, (name, part) in enumerate([("gan", "train"), ("gan", "test"), ("vae", "test"), ("vae", "test")] * 5)
    ]
    dealt = slice_set.shuffled(rows, 3)
    assert {entry.part for entry in dealt if entry.generator == "vae"} == {"test"}
    assert [entry.part for entry in dealt] != [entry.part for entry in rows]


def test_the_most_are_spread_evenly(made, tmp_path):
    assert slice_set.spread([3, 4, 5, 6, 7], 1) == [5]
    assert slice_set.spread(range(10), 5) == [1, 3, 5, 7, 9]
    assert slice_set.spread([1, 2], 5) == [1, 2]
    outcome = slice_set.make(made, tmp_path / "out", most=1)
    enough = sum((case.mask.sum(axis=(1, 2)) >= CHANGED_VOXELS).any() for case in opened(made))
    assert Counter(entry.label for entry in outcome.entries) == {"forged": enough, "authentic": enough}


def test_slices_of_one_file_are_extracted_and_marked(tmp_path):
    chest = phantom.chest((3, 40, 44), (2.5, 2.0, 2.0), np.random.default_rng(1))
    mask = np.zeros(chest.shape, dtype=np.uint8)
    mask[1:, 10:16, 12:20] = 1
    for name, voxels in (("real", chest.voxels), ("fake", chest.voxels + 50 * mask), ("mask", mask)):
        data = np.ascontiguousarray(voxels.transpose(2, 1, 0), dtype=np.float32)
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.5, 1.0])), tmp_path / f"{name}.nii.gz")
    (tmp_path / "m.csv").write_text(
        "path,patient,label,mask,modality,part\nreal.nii.gz,P,authentic,,CT,train\nfake.nii.gz,P,forged,mask.nii.gz,CT,train\n",
        encoding="utf-8",
    )
    slice_set.make(tmp_path / "m.csv", tmp_path / "out")
    found = opened(tmp_path / "out")
    assert [case.forged for case in found] == [True, False, True, False]
    for case in found:
        k = int(case.name[-4:])
        assert case.volume.shape == (1, 40, 44)
        # Rows and columns may be turned, alike in picture and mask.
        assert sorted(case.volume.voxels.ravel()) == pytest.approx(
            sorted((chest.voxels[k] + (50 * mask[k] if case.forged else 0)).ravel()), abs=0.01
        )
        assert case.mask.sum() == (48 if case.forged else 0)
    pairs = zip(found[::2], found[1::2], strict=True)
    assert all(np.array_equal(a.volume.voxels != b.volume.voxels, a.mask) for a, b in pairs)
    made_file = next((tmp_path / "out" / "slices").rglob("forged-*.nii.gz"))
    assert b"Synthetic data: YES" in bytes(nib.load(made_file).header["descrip"])


def test_bad_input_is_told_and_nothing_is_written(made, tmp_path):
    listed, root = table.read(made).entries, made.parent

    def written(entries):
        table.write(tmp_path / "m.csv", entries, root)
        return tmp_path / "m.csv"

    out = tmp_path / "out"
    with pytest.raises(UsageError, match="unknown split by 'luck'"):
        slice_set.make(made, out, by="luck")
    with pytest.raises(UsageError, match="rows without a part"):
        slice_set.make(written([replace(entry, part="") for entry in listed]), out)
    with pytest.raises(InputError, match="has no mask"):
        slice_set.make(written([replace(entry, mask=None) for entry in listed]), out)
    with pytest.raises(InputError, match="no forged slice"):
        slice_set.make(written([entry for entry in listed if entry.label == "authentic"]), out)
    assert not out.exists()
    with pytest.raises(UsageError, match="not empty"):
        slice_set.make(made, root)
