"""Finding, grouping and sorting: every good file is found, every bad one is listed with a way out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.config import IGNORE
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

import tamperscope
from builders import ct, nifti, pixels, png, rgb, to_bytes, zipped
from tamperscope import errors, forge, phantom, study
from tamperscope.plan import planned
from tamperscope.records import Reading, Series
from tamperscope.report import nifti as heatmaps
from tamperscope.source import opened

DICOMDIR = "1.2.840.10008.1.3.10"


def only_series(reading: Reading) -> Series:
    assert not reading.failed, reading.failed
    (found,) = reading.studies
    (series,) = found.series
    return series


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def stack(count: int = 4, **values: object) -> dict[str, bytes]:
    # Names run against the positions: the order must come from the header.
    return {f"s{9 - index}.dcm": to_bytes(ct(index=index, **values)) for index in range(count)}


def test_folder_is_one_series_sorted_along_the_normal(tmp_path: Path) -> None:
    files = {f"deep/er/{name}": data for name, data in stack().items()}
    series = only_series(study.read(write(tmp_path, files)))
    assert [entry.position for entry in series.instances] == [0.0, 2.5, 5.0, 7.5]
    assert series.modality == "CT"
    assert series.findings == ()
    assert series.format == "dicom"
    for entry in series.instances:
        assert entry.path is not None
        assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()


def test_every_way_in_gives_the_same_objects(tmp_path: Path) -> None:
    files = stack()
    folder = write(tmp_path / "folder", files)
    archive = tmp_path / "archive"
    archive.write_bytes(zipped({f"in/{name}": data for name, data in files.items()}))
    ways = [folder, str(folder), archive, archive.read_bytes(), sorted(folder.iterdir()), list(files.values())]
    digests = {tuple(entry.sha256 for entry in only_series(study.read(way)).instances) for way in ways}
    assert len(digests) == 1
    for way in ways:
        for entry in only_series(study.read(way)).instances:
            assert hashlib.sha256(study.payload(entry)).hexdigest() == entry.sha256


def test_reading_changes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path, {**stack(), "note.txt": b"hello", "a.zip": zipped(stack(1))})
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    study.read(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_header_is_json_and_names_no_patient() -> None:
    equipment, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "109100", "DCM", "Synthesizing Equipment"
    equipment.PurposeOfReferenceCodeSequence = Sequence([code])
    equipment.Manufacturer = "tamperscope"
    data = to_bytes(
        ct(
            Manufacturer="ACME",
            ConvolutionKernel="B70f",
            SyntheticData="YES",
            LossyImageCompression="01",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            SeriesDescription="of Secret^Name",
            ContributingEquipmentSequence=Sequence([equipment]),
        )
    )
    header = only_series(study.read(data)).header
    assert "Secret" not in json.dumps(header)
    assert header["manufacturer"] == "ACME"
    assert header["kernel"] == "B70f"
    assert header["image_type"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert header["synthetic_data"] == "YES"
    assert header["lossy"] is True
    assert header["contributing_equipment"] == [
        {"purpose": "109100 Synthesizing Equipment", "manufacturer": "tamperscope", "model": None}
    ]
    assert (header["rows"], header["columns"], header["slice_thickness_mm"]) == (12, 10, 5.0)


def test_gap_and_duplicate_positions_are_told() -> None:
    gap = only_series(study.read([to_bytes(ct(index=index)) for index in (0, 1, 2, 4, 5)]))
    assert "slices 2 and 3 lie 5.00 mm apart where 2.50 mm is usual; missing slices: about 1" in gap.findings[0]
    same = [to_bytes(ct(index=index, ImagePositionPatient=[0, 0, [0, 1, 1, 2][index]])) for index in range(4)]
    assert "1 of 4 slices lie where another one lies" in only_series(study.read(same)).findings[0]


def test_without_position_instance_number_then_name_decides(tmp_path: Path) -> None:
    files = {
        f"{9 - index}.dcm": to_bytes(ct(index=index, ImagePositionPatient=None, ImageOrientationPatient=None))
        for index in range(3)
    }
    series = only_series(study.read(write(tmp_path, files)))
    assert "sorted by Instance Number" in series.findings[0]
    assert [Path(entry.source).name for entry in series.instances] == ["9.dcm", "8.dcm", "7.dcm"]
    bare = [
        to_bytes(ct(index=index, ImagePositionPatient=None, ImageOrientationPatient=None, InstanceNumber=None))
        for index in range(2)
    ]
    assert "sorted by file name" in only_series(study.read(bare)).findings[0]


def test_mixed_series_is_split_and_says_so() -> None:
    mixed = [
        ct(index=0),
        ct(index=1),
        ct(pixels(16, 16), index=2),
        ct(index=3, ImageOrientationPatient=[0, 1, 0, 0, 0, 1]),
    ]
    (found,) = study.read([to_bytes(entry) for entry in mixed]).studies
    assert sorted(len(series.instances) for series in found.series) == [1, 1, 2]
    assert all("mixes 2 matrix sizes and 2 orientations; it is split into 3" in s.findings[0] for s in found.series)


def test_radiographs_are_volumes_of_their_own() -> None:
    views = [to_bytes(ct(index=index, Modality="MG", ImageOrientationPatient=None)) for index in range(2)]
    (found,) = study.read(views).studies
    assert len(found.series) == 2
    assert "holds 2 radiographs" in found.series[0].findings[0]


def test_series_are_ordered_by_number_and_missing_uid_groups_by_folder(tmp_path: Path) -> None:
    a, b = (
        ct(index=0, SeriesNumber=7, SeriesInstanceUID="1.2.3"),
        ct(index=1, SeriesNumber=2, SeriesInstanceUID="1.2.4"),
    )
    (found,) = study.read([to_bytes(a), to_bytes(b)]).studies
    assert [series.series_uid for series in found.series] == ["1.2.4", "1.2.3"]
    files = {f"{part}/{index}": to_bytes(ct(index=2 * "ab".index(part) + index, SeriesInstanceUID=None))
             for part in "ab" for index in range(2)}  # fmt: skip
    (found,) = study.read(write(tmp_path, files)).studies
    assert [len(series.instances) for series in found.series] == [2, 2]
    assert "Series Instance UID is missing" in found.series[0].findings[0]


def test_same_object_twice_is_skipped_and_a_changed_copy_is_told() -> None:
    first = ct(index=0)
    changed = ct(pixels(seed=99), index=0)
    assert changed.SOPInstanceUID == first.SOPInstanceUID
    twice = study.read([to_bytes(first), to_bytes(first)])
    assert [entry.reason for entry in twice.skipped] == ["same object as bytes 1"]
    assert not twice.failed
    clash = study.read([to_bytes(first), to_bytes(changed), to_bytes(ct(index=1))])
    assert "other content" in clash.failed[0].error
    assert "other content" in clash.studies[0].series[0].findings[0]
    assert len(clash.studies[0].series[0].instances) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Modality": "SR", "PixelData": None, "Rows": None, "Columns": None}, "structured report"),
        ({"Modality": "PR"}, "presentation state"),
        ({"Modality": "SEG"}, "segmentation"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
    ],
)
def test_what_is_no_image_is_skipped_with_a_reason(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    folder = write(tmp_path, {**stack(2), "other.dcm": to_bytes(ct(index=7, **change))})
    reading = study.read(folder)
    assert len(only_series(reading).instances) == 2
    (skipped,) = reading.skipped
    assert reason in skipped.reason
    assert skipped.source.endswith("other.dcm")
    alone = study.read(folder / "other.dcm")
    assert reason in alone.failed[0].error
    assert alone.failed[0].hint


def test_bad_files_are_listed_and_the_others_read(tmp_path: Path) -> None:
    good = stack(3)
    whole = to_bytes(ct(index=8))
    bad = {
        "cut.dcm": whole[:-40],
        "header_only.dcm": whole[:200],
        "liar.png": b"this is no picture",
        "empty.dcm": b"",
        "no_pixels.dcm": to_bytes(ct(index=8, PixelData=None)),
        "huge.dcm": to_bytes(ct(index=8, Rows=65535, Columns=65535, NumberOfFrames=9999)),
        "short.dcm": to_bytes(ct(index=8, Rows=24)),
        "broken.zip": zipped(good)[:-60],
    }
    dull = {"README": b"x", "a.json": b"{}", ".DS_Store": b"\0", "b.csv": b"1,2"}
    reading = study.read(write(tmp_path, good | bad | dull))
    assert len(reading.studies[0].series[0].instances) == 3
    assert {Path(entry.source).name for entry in reading.failed} == set(bad)
    assert all(entry.hint and entry.source in entry.error for entry in reading.failed)
    assert {Path(entry.source).name for entry in reading.skipped} == set(dull)
    errors_by_name = {Path(entry.source).name: entry.error for entry in reading.failed}
    assert "9999 x 65535 x 65535 x 1 samples are declared" in errors_by_name["huge.dcm"]
    assert "240 bytes expected, 200 are there" in errors_by_name["cut.dcm"]


def test_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    reading = study.read(write(tmp_path, {"slice.txt": to_bytes(ct()), "picture.dcm": png(np.zeros((4, 5), np.uint8))}))
    assert not reading.failed
    assert [found.series[0].format for found in reading.studies] == ["dicom", "picture"]


@pytest.mark.parametrize("source", ["nowhere/at/all", "bad\0name", b"", b"hello", []])
def test_nothing_there(source: str | bytes | list[str]) -> None:
    reading = study.read(source)
    assert not reading.studies
    assert len(reading.failed) == (0 if source == [] else 1)


def test_empty_folder_and_empty_zip_are_failures(tmp_path: Path) -> None:
    for source in (tmp_path, zipped({}), zipped({"readme.txt": b"hi"})):
        (failure,) = study.read(source).failed
        assert "no image in it" in failure.error


@pytest.mark.parametrize("name", ["../up.dcm", "/etc/abs.dcm", "C:\\drive.dcm", "a/../../b.dcm", "..\\win.dcm"])
def test_unsafe_zip_members_are_refused_and_the_rest_read(name: str) -> None:
    reading = study.read(zipped({name: to_bytes(ct(index=5)), **stack(2)}))
    assert len(reading.studies[0].series[0].instances) == 2
    (failure,) = reading.failed
    assert "leaves the archive" in failure.error


def test_zip_links_bombs_nests_and_ciphers() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.dcm", bytes(4 * 2**20))
        archive.writestr("inner.zip", zipped(stack(1)))
        archive.writestr("good.dcm", to_bytes(ct()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("good.dcm", to_bytes(ct(index=1)))
    reading = study.read(stream.getvalue())
    assert len(reading.studies[0].series[0].instances) >= 1
    assert any("100 times" in entry.error for entry in reading.failed)
    assert any("link" in entry.error for entry in reading.failed)
    assert [entry.reason for entry in reading.skipped if entry.source.endswith("inner.zip")] == [
        "archive inside an archive"
    ]
    with_lzma = study.read(zipped({"a.dcm": to_bytes(ct())}, zipfile.ZIP_LZMA))
    assert "zip method 14" in with_lzma.failed[0].error
    limited = study.read(zipped(stack(3)), study.Limits(max_entries=2))
    assert "3 members, 2 are allowed" in limited.failed[0].error


def test_deflated_dicom_is_inflated_within_bounds() -> None:
    calm = to_bytes(ct(index=0, syntax=DeflatedExplicitVRLittleEndian))
    assert only_series(study.read(calm)).header["transfer_syntax_uid"] == DeflatedExplicitVRLittleEndian
    bomb = to_bytes(ct(np.zeros((1200, 1200), np.int16), syntax=DeflatedExplicitVRLittleEndian))
    (failure,) = study.read(bomb).failed
    assert "inflate to more than 100 times" in failure.error
    assert "max_ratio" in failure.hint


def test_file_size_limit(tmp_path: Path) -> None:
    folder = write(tmp_path, stack(1))
    (failure,) = study.read(folder, study.Limits(max_file_bytes=100)).failed
    assert "larger than 100 bytes" in failure.error


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", stack(1))
    inside = write(tmp_path / "inside", {"a.dcm": to_bytes(ct(index=3))})
    (inside / "file.dcm").symlink_to(next(outside.iterdir()))
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe.dcm")
    reading = study.read(inside)
    assert len(reading.studies[0].series[0].instances) == 1
    assert [entry.reason for entry in reading.skipped].count("link that leaves the folder") == 2
    assert any("pipe.dcm: not a regular file" in entry.error for entry in reading.failed)


def dicomdir(*names: list[str]) -> bytes:
    index = Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = DICOMDIR
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.add(DataElement("ReferencedFileID", "CS", name, validation_mode=IGNORE))
        records.append(record)
    index.DirectoryRecordSequence = Sequence(records)
    return to_bytes(index)


def test_dicomdir_names_its_files_and_none_outside(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"OUT": to_bytes(ct(index=5)), "CD/IMG/A": to_bytes(ct(index=0)), "CD/IMG/B": to_bytes(ct(index=1))},
    )
    (tmp_path / "CD" / "DICOMDIR").write_bytes(
        dicomdir(["IMG", "A"], ["IMG", "B"], ["..", "OUT"], ["IMG", "GONE"], [str(tmp_path / "OUT")])
    )
    reading = study.read(tmp_path / "CD" / "DICOMDIR")
    assert len(reading.studies[0].series[0].instances) == 2
    assert sorted("outside its folder" in entry.error for entry in reading.failed) == [False, True, True]
    folder = study.read(tmp_path / "CD")
    assert len(only_series(folder).instances) == 2
    assert "index of a DICOM medium" in folder.skipped[0].reason


def test_dicomdir_of_another_writer(tmp_path: Path) -> None:
    found = get_testdata_file("DICOMDIR", download=False)
    assert isinstance(found, str)
    reading = study.read(found)
    assert not reading.failed
    assert len(reading.skipped) == 2
    assert sum(len(series.instances) for entry in reading.studies for series in entry.series) == 29
    copy = shutil.copytree(Path(found).parent, tmp_path / "copy")
    assert study.read(copy / "DICOMDIR").studies


def test_without_preamble_and_without_meta() -> None:
    for implicit, little in ((True, True), (False, True), (False, False)):
        dataset = ct(index=int(implicit))
        del dataset.file_meta
        if not little:
            dataset.PixelData = pixels(seed=0).astype(">i2").tobytes()
        stream = io.BytesIO()
        dataset.save_as(stream, implicit_vr=implicit, little_endian=little)
        series = only_series(study.read(stream.getvalue()))
        assert series.header["rows"] == 12


def test_nifti_and_pictures_are_studies_of_their_own(tmp_path: Path) -> None:
    files = {"a.nii": nifti(np.zeros((3, 4, 5), np.int16)), "b.tif": png(np.zeros((4, 6), np.uint16), "TIFF")}
    reading = study.read(write(tmp_path, files))
    assert [
        (entry.study_uid, entry.series[0].format, entry.series[0].instances[0].frames) for entry in reading.studies
    ] == [
        (None, "nifti", 5),
        (None, "picture", 1),
    ]
    assert reading.studies[1].series[0].header["rows"] == 4


def test_payload_notices_a_change(tmp_path: Path) -> None:
    folder = write(tmp_path, stack(1))
    (instance,) = only_series(study.read(folder)).instances
    assert instance.path is not None
    instance.path.write_bytes(to_bytes(ct(index=3)))
    with pytest.raises(errors.UnreadableError, match="changed since"):
        study.payload(instance)
    instance.path.unlink()
    with pytest.raises(errors.UnreadableError, match="cannot be opened"):
        study.payload(instance)
    with pytest.raises(errors.UnreadableError, match="neither a path nor bytes"):
        study.payload(replace(instance, path=None))


def test_videos_are_unsupported() -> None:
    dataset = rgb(np.zeros((4, 4, 3), np.uint8))
    data = to_bytes(dataset).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.102\0"[:20])
    assert study.read(data).failed


def test_results_of_a_scan_are_not_scanned_again(tmp_path):
    volume = phantom.chest((2, 64, 64), (2.5, 5.0, 5.0))
    phantom.write_dicom(volume, tmp_path / "study")
    tamperscope.scan(tmp_path / "study", out=tmp_path / "report")
    heatmaps.write(volume, np.zeros(volume.shape, np.float32), tmp_path / "report" / "heat.nii.gz")
    reading = study.read(tmp_path)
    assert len(reading.studies) == 1
    assert not reading.failed
    own = {Path(entry.source).name for entry in reading.skipped if entry.reason == "a result of tamperscope"}
    assert own == {"study.png", "heat.nii.gz"}


def test_masks_and_pictures_of_a_forgery_are_not_scanned_but_the_forgery_is(tmp_path):
    volume = phantom.chest((20, 96, 96), (2.5, 3.0, 3.0))
    phantom.write_dicom(volume, tmp_path / "study")
    source = opened(tmp_path / "study")
    (tmp_path / "out").mkdir()
    made = forge.forge(source, planned("inpaint"), tmp_path / "out", twin=True)
    reading = study.read(tmp_path / "out")
    assert sum(len(one.series) for one in reading.studies) == len(made) == 2
    assert not reading.failed
    own = {Path(entry.source).name for entry in reading.skipped if entry.reason == "a result of tamperscope"}
    assert own == {"forged-inpaint-1.compare.png", "forged-inpaint-1.mask.nii.gz"}

    (tmp_path / "out" / "forged-inpaint-1.json").unlink()
    assert len(study.read(tmp_path / "out").studies) == len(reading.studies) + 2, "no record says that it is one"


def test_a_file_that_calls_itself_a_result_is_scanned_all_the_same(tmp_path):
    volume = phantom.chest((2, 64, 64), (2.5, 5.0, 5.0))
    heatmaps.write(volume, np.zeros(volume.shape, np.float32), tmp_path / "hidden.nii.gz")
    assert len(study.read(tmp_path).studies) == 1


def test_a_zip_with_two_members_of_one_name_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("IM.dcm", to_bytes(ct()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("IM.dcm", to_bytes(ct(index=1)))
    reading = study.read(tmp_path / "a.zip")
    assert "a second member of this name" in reading.failed[0].error


def test_16_bit_colour_is_refused_by_name():
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (4).to_bytes(4, "big") * 2 + b"\x10\x02\x00\x00\x00"
    reading = study.read(header)
    assert "16 bits and more than one channel" in reading.failed[0].error
