from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from studies import PATIENT, image, stored, write
from tamperscope.errors import AttackError, UnsupportedError, UsageError
from tamperscope.records import voxel_digest
from tamperscope.writers import dicom

SHAPE = (14, 12)


def ct(folder, slices=3, array=None, **values):
    arrays = [stored(SHAPE, -200, 2000, seed=k) if array is None else array for k in range(slices)]
    return write([image("CT", one, k, **values) for k, one in enumerate(arrays)], folder)


def both(folder):
    """(source, forged) headers of each file, in the order of the slices."""
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


# --- pixels ---

HEADERS = {
    "signed 16 bits": {},
    "12 bits unsigned": {"dtype": "<u2", "low": 0, "high": 4096, "BitsStored": 12, "HighBit": 11},
    "12 bits signed": {"low": -2048, "high": 2048, "BitsStored": 12, "HighBit": 11},
    "8 bits": {"dtype": "u1", "low": 0, "high": 256},
    "8 bits signed": {"dtype": "i1", "low": -128, "high": 128},
    "32 bits": {"dtype": "<i4", "low": -100_000, "high": 100_000},
    "slope of a third": {"RescaleSlope": "0.33333333", "RescaleIntercept": "-1000.5"},
    "slope of a real scanner": {"RescaleSlope": "1.0002441", "dtype": "<u2", "low": 0, "high": 4096},
    "slope above one": {"RescaleSlope": 2, "RescaleIntercept": -3000},
    "negative slope": {"RescaleSlope": -1, "RescaleIntercept": 100},
    "no rescale": {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None},
    "padding": {"PixelPaddingValue": -2000, "low": -2000},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "retired high bit": {"dtype": "<u2", "low": 0, "high": 4096, "shift": 4, "BitsStored": 12, "HighBit": 15},
}


@pytest.mark.parametrize("values", HEADERS.values(), ids=HEADERS.keys())
def test_untouched_voxels_come_back_bit_for_bit_and_the_others_as_near_as_the_file_can(
    values, tmp_path, opened, altered, mark
):
    values = dict(values)
    dtype, low, high = values.pop("dtype", "<i2"), values.pop("low", -1000), values.pop("high", 3000)
    shift = values.pop("shift", 0)
    arrays = [stored(SHAPE, low, high, dtype, seed=k) << shift for k in range(3)]
    source = write([image("CT", one, k, **values) for k, one in enumerate(arrays)], tmp_path / "in")
    series, volume = opened(source)
    aim = float(np.median(volume.voxels)) + 0.3
    forged = altered(volume, aim)
    written = dicom.write(series, volume, forged, tmp_path / "out", mark)
    _, read = opened(tmp_path / "out")
    assert read.digest == written.volume.digest == voxel_digest(read.voxels)
    touched = forged.voxels != volume.voxels
    assert np.array_equal(read.voxels[~touched], volume.voxels[~touched])
    step = abs(float(values.get("RescaleSlope") or 1))
    assert np.abs(read.voxels[touched] - aim).max() <= step / 2 + 1e-3
    for before, after in zip(both(source), both(tmp_path / "out"), strict=True):
        for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"):
            assert after[keyword].value == before[keyword].value
        for keyword in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
            assert after.get(keyword) == before.get(keyword)
        assert after.HighBit == after.BitsStored - 1
    assert read.padding == volume.padding


def test_a_value_beyond_the_file_is_written_as_its_last_and_told(tmp_path, opened, altered, mark):
    array = stored(SHAPE, 0, 4096, "<u2")
    series, volume = opened(ct(tmp_path / "in", array=array, BitsStored=12, HighBit=11))
    written = dicom.write(series, volume, altered(volume, 9000.0), tmp_path / "out", mark)
    assert written.saturated == 9
    assert written.volume.voxels[-1, 3, 4] == 4095 - 1024
    assert opened(tmp_path / "out")[1].digest == written.volume.digest


def test_a_value_that_is_no_number_is_refused(tmp_path, opened, altered, mark):
    series, volume = opened(ct(tmp_path / "in"))
    with pytest.raises(AttackError, match="no numbers"):
        dicom.write(series, volume, altered(volume, np.nan), tmp_path / "out", mark)


def test_a_scale_too_fine_for_its_values_is_refused(tmp_path, opened, altered, mark):
    series, volume = opened(ct(tmp_path / "in", RescaleSlope="1e-7", RescaleIntercept=-1024))
    with pytest.raises(UnsupportedError, match="do not give its own values back"):
        dicom.write(series, volume, altered(volume, 0.0), tmp_path / "out", mark)


def test_floating_point_and_packed_bits_are_refused(tmp_path, opened, altered, mark):
    source = image("SC", np.zeros(SHAPE, "u1"), BitsAllocated=1, BitsStored=1, HighBit=0)
    source.PixelData = np.packbits(stored(SHAPE, 0, 2, "u1"), bitorder="little").tobytes() + b"\0"
    series, volume = opened(write([source], tmp_path / "in"))
    with pytest.raises(UnsupportedError, match="cannot be written"):
        dicom.write(series, volume, altered(volume, 1.0), tmp_path / "out", mark)


def test_colour_is_refused_with_a_way_out(tmp_path, opened, mark):
    source = image("SC", stored(SHAPE, 0, 256, "u1"), SamplesPerPixel=3, PlanarConfiguration=0)
    source.PhotometricInterpretation, source.PixelData = "RGB", bytes(3 * 14 * 12)
    series, volume = opened(write([source], tmp_path / "in"))
    with pytest.raises(UnsupportedError, match=r"colour.*grey"):
        dicom.write(series, volume, volume, tmp_path / "out", mark)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless],
    ids=lambda syntax: syntax.name,
)
def test_any_transfer_syntax_comes_out_as_explicit_little_endian(syntax, tmp_path, opened, altered, mark):
    datasets = []
    for k in range(2):
        dataset = image("CT", stored(SHAPE, -200, 2000, seed=k), k, LossyImageCompression="00")
        lut = Dataset()
        lut.LUTDescriptor, lut.ModalityLUTType = [4, 0, 16], "HU"
        lut.add_new("LUTData", "OW", np.arange(4, dtype=">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes())
        dataset.VOILUTSequence = Sequence([lut])
        if syntax.is_compressed and not syntax.is_deflated:
            dataset.compress(syntax, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = stored(SHAPE, -200, 2000, seed=k).astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        datasets.append(dataset)
    series, volume = opened(write(datasets, tmp_path / "in"))
    dicom.write(series, volume, altered(volume, 77.0), tmp_path / "out", mark)
    read = opened(tmp_path / "out")[1]
    assert np.array_equal(read.voxels, altered(volume, 77.0).voxels)
    for dataset in both(tmp_path / "out"):
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert bytes(dataset.VOILUTSequence[0]["LUTData"].value) == np.arange(4, dtype="<u2").tobytes()


def test_a_multi_frame_object_comes_back_as_one_with_each_frame_in_its_place(tmp_path, opened, altered, mark):
    source = image("enhanced CT", stored((5, *SHAPE), -200, 2000))
    series, volume = opened(write([source], tmp_path / "in"))
    forged = altered(volume, 55.0, np.s_[0, 2:5, 3:6])
    written = dicom.write(series, volume, forged, tmp_path / "out", mark)
    (file,) = written.files
    assert np.array_equal(opened(tmp_path / "out")[1].voxels, forged.voxels)
    dataset = pydicom.dcmread(file)
    assert dataset.NumberOfFrames == 5
    # Slice 0 is the lowest, which this object stores as its last frame, with an intercept of -1028.
    assert (dataset.pixel_array[4, 2:5, 3:6] == 55 + 1028).all()
    assert np.array_equal(dataset.pixel_array[0], source.pixel_array[0])


# --- a part of the grid ---


def test_what_a_crop_left_keeps_its_place_in_the_patient(tmp_path, opened, mark):
    series, volume = opened(ct(tmp_path / "in", slices=4))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.position_mm((1, 2, 3))
    cropped = replace(volume, voxels=volume.voxels[1:3, 2:10, 3:11].copy(), affine=affine)
    written = dicom.write(series, volume, cropped, tmp_path / "out", mark)
    read = opened(tmp_path / "out")[1]
    assert len(written.files) == 2
    assert np.array_equal(read.voxels, cropped.voxels)
    assert np.allclose(read.affine, affine)


def test_another_grid_and_a_part_of_a_multi_frame_object_are_refused(tmp_path, opened, mark):
    series, volume = opened(ct(tmp_path / "in"))
    finer = volume.affine.copy()
    finer[:3, 1] /= 2
    with pytest.raises(UnsupportedError, match="do not lie on the grid"):
        dicom.write(series, volume, replace(volume, affine=finer), tmp_path / "out", mark)
    series, volume = opened(write([image("enhanced CT", stored((3, *SHAPE), -9, 9))], tmp_path / "multi"))
    with pytest.raises(UnsupportedError, match="part of a multi-frame object"):
        dicom.write(series, volume, volume.slab(0, 2), tmp_path / "out", mark)


# --- headers ---

OURS = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SyntheticData", "ContributingEquipmentSequence"}


def differences(first: Dataset, second: Dataset) -> set[str]:
    keywords = {element.keyword for element in (*first, *second)}
    return {word for word in keywords if first.get(word) != second.get(word)}


def test_forgery_and_twin_differ_in_uids_pixels_and_mark_alone(tmp_path, opened, altered, mark):
    source = ct(tmp_path / "in", SmallestImagePixelValue=-200, LargestImagePixelValue=1999)
    series, volume = opened(source)
    dicom.write(series, volume, altered(volume, 2500.0), tmp_path / "forged", mark)
    dicom.write(series, volume, volume, tmp_path / "twin", None)
    forged, twins, sources = both(tmp_path / "forged"), both(tmp_path / "twin"), both(source)
    changed = {"PixelData", "LargestImagePixelValue"}
    for before, twin, after in zip(sources, twins, forged, strict=True):
        assert differences(before, twin) <= {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}
        assert differences(twin, after) <= changed | OURS - {"StudyInstanceUID"}
        assert after.PatientName == PATIENT
        assert after.ImageType == before.ImageType
    assert forged[-1].LargestImagePixelValue == 2500 + 1024
    assert forged[0].LargestImagePixelValue == 1999
    assert "SyntheticData" not in twins[0]


def test_what_would_be_wrong_beside_other_pixels_is_left_out(tmp_path, opened, altered, mark):
    dataset = image("CT", stored(SHAPE, -200, 2000), LossyImageCompression="01", LossyImageCompressionRatio=9)
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    dataset.IconImageSequence = Sequence([icon])
    dataset.SmallestPixelValueInSeries = 0
    dataset.add_new(0x60000010, "US", 14)
    dataset.add_new(0x60020010, "US", 14)
    dataset.add_new(0x60023000, "OW", b"\0\0")
    dataset.add_new(0x00100000, "UL", 1234)
    dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")
    series, volume = opened(write([dataset], tmp_path / "in"))
    dicom.write(series, volume, altered(volume, 5.0), tmp_path / "out", mark)
    (after,) = both(tmp_path / "out")
    for gone in ("IconImageSequence", "SmallestPixelValueInSeries", "DataSetTrailingPadding"):
        assert gone not in after
    assert 0x60000010 not in after, "an overlay that lay in the pixels"
    assert 0x60020010 in after, "an overlay with data of its own"
    assert 0x00100000 not in after
    assert (after.LossyImageCompression, after.LossyImageCompressionRatio) == ("01", 9)


def test_uids_are_new_and_depend_on_source_and_record_alone(tmp_path, opened, altered, mark):
    series, volume = opened(ct(tmp_path / "in"))
    forged = altered(volume, 9.0)
    first = dicom.write(series, volume, forged, tmp_path / "a", mark)
    again = dicom.write(series, volume, forged, tmp_path / "b", mark)
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in again.files]
    other = dicom.write(series, volume, forged, tmp_path / "c", replace(mark, record="cd" * 32))
    twin = dicom.write(series, volume, volume, tmp_path / "d", None)
    uids = [first.uids, other.uids, twin.uids]
    assert len({one["series_uid"] for one in uids} | {series.series_uid}) == 4
    assert len({one["study_uid"] for one in uids}) == 1, "what comes of one study stays together"
    assert first.uids["study_uid"] != series.study_uid, "and is not filed into it"
    images = {dataset.SOPInstanceUID for folder in "abcd" for dataset in both(tmp_path / folder)}
    assert len(images) == 9
    assert not images & {instance.sop_instance_uid for instance in series.instances}


def test_the_mark_is_on_every_file_and_the_history_of_the_source_stays(tmp_path, opened, altered, mark):
    before = Dataset()
    before.Manufacturer = "Denoiser"
    series, volume = opened(ct(tmp_path / "in", ContributingEquipmentSequence=Sequence([before])))
    written = dicom.write(series, volume, altered(volume, 9.0), tmp_path / "out", mark)
    assert all(path.name.startswith("forged-") for path in written.files)
    for dataset in both(tmp_path / "out"):
        assert dataset.SyntheticData == "YES"
        first, last = dataset.ContributingEquipmentSequence
        assert first.Manufacturer == "Denoiser"
        (purpose,) = last.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
        assert purpose.CodeMeaning == "Synthesizing Equipment"
        assert mark.record in last.ContributionDescription
    # Through our own reader, which users have.
    assert opened(tmp_path / "out")[0].header["synthetic_data"] == "YES"


def test_without_the_mark_nothing_but_the_source_is_written(tmp_path, opened, altered):
    series, volume = opened(ct(tmp_path / "in"))
    for forged, edit in ((altered(volume, 9.0), None), (volume, lambda headers: list(headers))):
        with pytest.raises(UsageError, match="mark"):
            dicom.write(series, volume, forged, tmp_path / "out", None, edit=edit)
        assert not (tmp_path / "out").exists()


def test_a_header_attack_cannot_take_the_mark_away(tmp_path, opened, mark):
    def edit(headers):
        for header in headers:
            header.SyntheticData = "NO"
            header.PatientName = "Other^Name"
        return list(headers)

    series, volume = opened(ct(tmp_path / "in"))
    dicom.write(series, volume, volume, tmp_path / "out", mark, edit=edit)
    for dataset in both(tmp_path / "out"):
        assert (dataset.SyntheticData, dataset.PatientName) == ("YES", "Other^Name")
        assert dataset.ContributingEquipmentSequence


def test_the_source_is_not_changed(tmp_path, opened, altered, mark):
    source = ct(tmp_path / "in")
    before = {path: path.read_bytes() for path in source.iterdir()}
    series, volume = opened(source)
    voxels = volume.voxels.copy()
    dicom.write(series, volume, altered(volume, 9.0), tmp_path / "out", mark)
    assert before == {path: path.read_bytes() for path in source.iterdir()}
    assert np.array_equal(voxels, volume.voxels)


# --- the standard's validator ---

TOO_OLD = "(0x0008,0x001c)"
"""Synthetic Data came into the standard after the dciodvfy of Debian 12 (2022), which calls it unknown."""


def errors(path) -> set[str]:
    ended = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return {line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not there (Debian package dicom3tools)")
@pytest.mark.parametrize("kind", ["CT", "MR", "CR", "DX", "SC", "enhanced CT"])
def test_a_forgery_has_no_error_that_its_source_has_not(kind, tmp_path, opened, altered, mark):
    array = stored((3, *SHAPE) if kind == "enhanced CT" else SHAPE, 0, 4000, "<u2")
    source = write([image(kind, array)], tmp_path / "in")
    series, volume = opened(source)
    (file,) = dicom.write(series, volume, altered(volume, 9.0), tmp_path / "out", mark).files
    (twin,) = dicom.write(series, volume, volume, tmp_path / "twin", None).files
    known = errors(source / "0.dcm")
    assert {error for error in errors(file) - known if TOO_OLD not in error} == set()
    assert errors(twin) <= known
    if kind in ("CT", "MR", "CR", "DX", "SC"):
        assert known == set(), "the source is built to be without errors"
