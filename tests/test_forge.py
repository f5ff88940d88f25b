from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

import tamperscope
from tamperscope import forge, phantom, writers
from tamperscope.decode import decode
from tamperscope.errors import AttackError, UnsupportedError, UsageError
from tamperscope.plan import planned
from tamperscope.source import Source, opened

LUNG = (3, 70, 88)
"""A voxel of the phantom's lung."""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forge") / "study"
    phantom.write_dicom(phantom.chest((6, 128, 128), (2.5, 2.8, 2.8), np.random.default_rng(1)), folder)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyDate, dataset.PatientName, dataset.PatientID = "20200229", "Secret^Name", "SECRET-ID"
        del dataset.SyntheticData, dataset.ContributingEquipmentSequence
        dataset.save_as(path)
    return folder


@pytest.fixture(scope="module")
def source(study) -> Source:
    return opened(study)


def read(path: Path):
    """The only series there, and its voxels."""
    reading = tamperscope.read(path)
    assert not reading.failed, reading.failed
    ((series,),) = (one.series for one in reading.studies)
    return series, decode(series)


def mask(out: Path, item: forge.Item) -> np.ndarray:
    return np.asarray(nib.load(out / f"{item.name}{writers.mask.SUFFIX}").dataobj).transpose(2, 1, 0) > 0


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is made ---


def test_a_forgery_its_twin_and_all_that_belongs_to_them(study, source, tmp_path):
    before = tree(study)
    twin, forged = forge.forge(source, planned("nodule"), tmp_path, seed=7, at=LUNG, twin=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "forged-nodule-1",
        "forged-nodule-1.compare.png",
        "forged-nodule-1.json",
        "forged-nodule-1.mask.nii.gz",
        "twin-pristine",
        "twin-pristine.json",
    ]
    series, voxels = read(tmp_path / forged.name)
    _, pristine = read(tmp_path / twin.name)
    assert np.array_equal(pristine.voxels, source.volume.voxels)
    assert np.array_equal(mask(tmp_path, forged), voxels.voxels != pristine.voxels)
    assert series.header["synthetic_data"] == "YES"
    assert tree(study) == before, "the input is never changed"

    record = writers.record.read(tmp_path / "forged-nodule-1.json")
    assert record["order"]["pixels"]["params"]["centre"] == record["place"]["index"] == list(LUNG)
    assert np.allclose(record["place"]["mm"], source.volume.position_mm(LUNG))
    assert record["changed_voxels"] == mask(tmp_path, forged).sum() > 0
    assert record["changed_slices"] == np.flatnonzero(mask(tmp_path, forged).any(axis=(1, 2))).tolist()
    assert [file["changed_voxels"] for file in record["files"]] == mask(tmp_path, forged).sum(axis=(1, 2)).tolist()
    low, high = record["box_index"]
    assert (
        mask(tmp_path, forged)[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))].sum()
        == (record["changed_voxels"])
    )
    assert record["voxels_sha256"] == voxels.digest
    assert (record["twin"], record["role"], record["about"]) == ("twin-pristine", "forged", {"seed": [7, 1]})
    with Image.open(tmp_path / "forged-nodule-1.compare.png") as picture:
        assert picture.width > 600


def test_no_record_holds_patient_data_or_a_path(study, source, tmp_path):
    steps = planned("nodule", then=["changed-dates", "swapped-patient", "copied-uids"])
    forge.forge(source, steps, tmp_path, at=LUNG, twin=True)
    for path in tmp_path.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("Secret", "SECRET", "20200229", str(study)) if word in text]


def test_the_benign_steps_make_the_twin_and_the_mask_tells_what_is_beyond_them(source, tmp_path):
    plan = planned("nodule", then=["compress-jpeg"])
    twin, forged = forge.forge(source, plan, tmp_path, seed=2, at=LUNG, twin=True)
    _, after = read(tmp_path / forged.name)
    series, before = read(tmp_path / twin.name)
    assert forged.record["twin"] == twin.name == "twin-nodule+compress-jpeg-1"
    assert not np.array_equal(before.voxels, source.volume.voxels)
    assert np.array_equal(mask(tmp_path, forged), after.voxels != before.voxels)
    assert twin.record["attack"] == "compress-jpeg"
    assert series.header["synthetic_data"] == "YES", "a program changed its voxels"

    alone = tmp_path / "alone"
    alone.mkdir()
    (other,) = forge.forge(source, plan, alone, seed=2, at=LUNG)
    assert other.record["voxels_sha256"] == forged.record["voxels_sha256"]
    assert other.record["changed_voxels"] == forged.record["changed_voxels"]
    assert not list(alone.glob("twin*"))


def test_a_crop_moves_place_mask_and_grid_together(source, tmp_path):
    twin, forged = forge.forge(source, planned("nodule", then=["crop"]), tmp_path, seed=5, at=LUNG, twin=True)
    _, after = read(tmp_path / forged.name)
    _, before = read(tmp_path / twin.name)
    assert after.shape != source.volume.shape
    assert np.array_equal(mask(tmp_path, forged), after.voxels != before.voxels)
    assert np.allclose(after.position_mm(tuple(forged.record["place"]["index"])), source.volume.position_mm(LUNG))
    assert np.allclose(forged.record["place"]["mm"], source.volume.position_mm(LUNG), atol=1e-3)


def test_a_benign_change_is_labelled_so_marked_and_has_an_empty_mask(source, tmp_path):
    twin, changed = forge.forge(source, planned("denoise"), tmp_path, twin=True)
    assert (changed.name, changed.record["role"]) == ("benign-denoise-1", "benign")
    assert twin.name == "twin-pristine"
    assert not mask(tmp_path, changed).any()
    series, after = read(tmp_path / changed.name)
    assert not np.array_equal(after.voxels, source.volume.voxels)
    assert series.header["synthetic_data"] == "YES"


def test_a_header_attack_leaves_every_voxel_and_has_no_picture(source, tmp_path):
    (forged,) = forge.forge(source, planned("swapped-patient"), tmp_path)
    series, after = read(tmp_path / forged.name)
    assert np.array_equal(after.voxels, source.volume.voxels)
    assert (forged.record["role"], forged.record["changed_voxels"]) == ("forged", 0)
    assert not list(tmp_path.glob("*.png"))
    dataset = pydicom.dcmread(next((tmp_path / forged.name).iterdir()))
    assert dataset.PatientName != "Secret^Name"
    assert dataset.SyntheticData == series.header["synthetic_data"] == "YES"


def test_header_attacks_come_after_those_on_pixels_in_their_order(source, tmp_path):
    plan = planned("nodule", then=["changed-dates", "stripped-uids"])
    (forged,) = forge.forge(source, plan, tmp_path, at=LUNG)
    assert forged.name == "forged-nodule+changed-dates+stripped-uids-1"
    assert [step["attack"] for step in forged.record["order"]["headers"]] == ["changed-dates", "stripped-uids"]
    with pytest.raises(UsageError, match="headers last"):
        planned("changed-dates", then=["nodule"])


def test_several_forgeries_differ_and_the_first_does_not_depend_on_their_number(source, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for count, folder in enumerate(folders, start=1):
        folder.mkdir()
        forge.forge(source, planned("inpaint"), folder, count=count, seed=3)
    first, second = (writers.record.read(folders[1] / f"forged-inpaint-{n}.json") for n in (1, 2))
    assert first["order"] != second["order"]
    assert first["series_uid"] != second["series_uid"]
    assert tree(folders[0]).items() <= tree(folders[1]).items()


# --- other formats ---


def test_a_nifti_file_comes_out_as_nifti(tmp_path):
    volume = phantom.chest((6, 128, 128), (2.5, 2.8, 2.8))
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(volume.voxels.astype(np.int16).transpose(2, 1, 0), np.diag([-2.8, -2.8, 2.5, 1.0])), path)
    with pytest.raises(UsageError, match="--modality CT"):
        opened(path)
    source = opened(path, modality="ct")
    out = tmp_path / "out"
    out.mkdir()
    twin, forged = forge.forge(source, planned("nodule"), out, at=LUNG, twin=True)
    assert {path.name for path in out.iterdir()} >= {"forged-nodule-1.nii.gz", "twin-pristine.nii.gz"}
    _, after = read(out / "forged-nodule-1.nii.gz")
    assert np.array_equal(mask(out, forged), after.voxels != source.volume.voxels)
    assert twin.record["files"][0]["name"] == "twin-pristine.nii.gz"
    with pytest.raises(UnsupportedError, match="no DICOM header"):
        forge.forge(source, planned("changed-dates"), out)


def test_a_picture_comes_out_as_a_picture_once_its_spacing_is_stated(tmp_path):
    film = phantom.radiograph((96, 80)).voxels[0]
    Image.fromarray(film.astype(np.uint16)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(AttackError, match="spacing"):
        forge.forge(opened(tmp_path / "a.png"), planned("inpaint"), out)
    source = opened(tmp_path / "a.png", modality="DX", spacing_mm=[2.0])
    assert source.volume.spacing_mm == (2.0, 2.0, 2.0)
    (forged,) = forge.forge(source, planned("inpaint"), out, at=(0, 40, 40))
    _, after = read(out / "forged-inpaint-1.png")
    assert np.array_equal(mask(out, forged), after.voxels != source.volume.voxels)


def test_a_donor_gives_a_piece(source, tmp_path):
    donor = phantom.chest((6, 64, 64), (2.5, 5.0, 5.0), np.random.default_rng(2))
    with pytest.raises(UsageError, match="--donor"):
        planned("splice")
    (forged,) = forge.forge(source, planned("splice", donors=(donor,)), tmp_path, at=LUNG)
    assert forged.record["order"]["pixels"]["params"]["donor"] == donor.digest
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(UsageError, match="--donor"):
        forge.replay(source, forged.record, again)
    forge.replay(source, forged.record, again, (donor,))
    assert tree(again).items() <= tree(tmp_path).items()


# --- replay ---


def test_a_record_replays_bit_for_bit_in_another_process(study, source, tmp_path):
    plan = planned("ct-gan-blend", "inject", ["compress-jpeg", "changed-dates"])
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    forge.forge(source, plan, first, seed=11, at=LUNG, twin=True)
    (record,) = first.glob("forged*.json")
    script = (
        "from tamperscope import forge, writers; from tamperscope.source import opened; from pathlib import Path\n"
        f"forge.replay(opened({str(study)!r}), writers.record.read(Path({str(record)!r})), "
        f"Path({str(second)!r}), twin=True)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert tree(first) == tree(second)


def test_a_record_of_another_series_a_twin_or_a_changed_one_is_refused(source, tmp_path):
    twin, forged = forge.forge(source, planned("nodule"), tmp_path, at=LUNG, twin=True)
    out = tmp_path / "out"
    out.mkdir()
    other = Source(source.series, replace(source.volume, digest="00"))
    with pytest.raises(AttackError, match="another series"):
        forge.replay(other, forged.record, out)
    changed = json.loads(json.dumps(forged.record))
    changed["order"]["pixels"]["params"]["radius_mm"] = 99.0
    for record in (
        twin.record,
        changed,
        {**forged.record, "name": "forged-../../up"},
        {**forged.record, "order": None},
        {},
    ):
        with pytest.raises(UsageError):
            forge.replay(source, record, out)
    with pytest.raises(AttackError, match="other voxels"):
        forge.replay(source, {**forged.record, "voxels_sha256": "00"}, out)


def test_parameters_that_do_not_fit_are_an_error_of_ours(source, tmp_path):
    plan = planned("nodule")
    order = forge.sample(source, plan, (1,), LUNG)
    order["pixels"]["params"]["radius_mm"] = "wide"
    with pytest.raises(AttackError, match="do not fit"):
        forge.save(source, plan, order, tmp_path, "a")
    assert list(tmp_path.iterdir()) == [], "nothing half-made is left"


# --- bad calls ---


def test_the_folder_must_be_empty_and_outside_the_input(study, tmp_path):
    forge.prepare(tmp_path / "new" / "deep", [study])
    (tmp_path / "new" / "file").write_text("")
    for out in (tmp_path / "new", tmp_path / "new" / "file", study / "out", study):
        with pytest.raises(UsageError):
            forge.prepare(out, [study])
    assert not (study / "out").exists()


def test_no_forgeries_at_all_is_no_order(source, tmp_path):
    with pytest.raises(UsageError, match="one at least"):
        forge.forge(source, planned("nodule"), tmp_path, count=0)


def test_a_wrong_modality_a_volume_too_small_and_an_attack_without_effect_are_told(source, tmp_path):
    film = replace(source.volume, modality="MR")
    with pytest.raises(AttackError, match="is made for CT"):
        forge.forge(Source(source.series, film), planned("nodule"), tmp_path)
    tiny = replace(source.volume, voxels=source.volume.voxels[:, :2, :2])
    with pytest.raises(AttackError, match="slice plane"):
        forge.forge(Source(source.series, tiny), planned("nodule"), tmp_path)
    plan = planned("nodule")
    order = forge.sample(source, plan, (1,), LUNG)
    order["pixels"]["params"] |= {"level_hu": -2000.0, "blend": "maximum", "grain": "none"}
    with pytest.raises(AttackError, match="changed no voxel"):
        forge.save(source, plan, order, tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_what_has_none_is_refused(source, tmp_path):
    for name in ("denoise", "changed-dates"):
        with pytest.raises(UsageError, match="no single place"):
            forge.forge(source, planned(name), tmp_path, at=LUNG)


def test_what_does_not_suit_the_attack_leaves_nothing_behind(source, tmp_path):
    with pytest.raises(AttackError, match="no header declares lossy"):
        forge.forge(source, planned("inpaint", then=["removed-lossy-flags"]), tmp_path, at=LUNG, twin=True)
    assert list(tmp_path.iterdir()) == []


def test_what_went_through_a_lossy_codec_says_so_until_an_attack_denies_it(source, tmp_path):
    for out, then in ((tmp_path / "a", ["compress-jpeg"]), (tmp_path / "b", ["compress-jpeg", "removed-lossy-flags"])):
        out.mkdir()
        twin, forged = forge.forge(source, planned("inpaint", then=then), out, at=LUNG, twin=True)
        headers = [pydicom.dcmread(next((out / item.name).iterdir())) for item in (twin, forged)]
        denied = len(then) == 2
        assert headers[0].LossyImageCompression == "01"
        assert headers[0].LossyImageCompressionMethod == "ISO_10918_1"
        assert (headers[1].get("LossyImageCompression") == "01") == (not denied)


def test_a_gap_in_the_series_stands_in_the_record(study, tmp_path):
    shutil.copytree(study, tmp_path / "study")
    sorted((tmp_path / "study").iterdir())[2].unlink()
    (tmp_path / "out").mkdir()
    (item,) = forge.forge(opened(tmp_path / "study"), planned("inpaint"), tmp_path / "out")
    assert any("gap" in finding or "missing" in finding for finding in item.record["source"]["findings"])


def test_a_removal_needs_something_to_remove(source):
    empty = replace(source.volume, voxels=np.minimum(source.volume.voxels, -700.0))
    with pytest.raises(AttackError, match="nothing to remove"):
        forge.sample(Source(source.series, empty), planned("ct-gan", "remove"), (1,))
