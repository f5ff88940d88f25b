from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import fft

from tamperscope import phantom
from tamperscope.errors import UsageError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def volume():
    return phantom.chest((6, 128, 128), (2.5, 2.8, 2.8), rng())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 32, 32), (8, 64, 64), (3, 5, 40), (2, 33, 64)])
@pytest.mark.parametrize("kernel", ["soft", "standard", "sharp"])
def test_every_shape_gives_integer_hounsfield_units(shape, kernel):
    voxels = phantom.chest(shape, rng=rng(), kernel=kernel).voxels
    assert voxels.shape == shape
    assert voxels.dtype == np.float32
    assert np.array_equal(voxels, np.rint(voxels))
    assert voxels.min() >= -1024
    assert voxels.max() <= 3071


def test_it_has_air_lung_fat_soft_tissue_and_bone(volume):
    voxels = volume.voxels
    for low, high, least in [
        (-1024, -960, 0.2),
        (-900, -780, 0.1),
        (-150, -60, 0.05),
        (0, 100, 0.1),
        (250, 1200, 0.005),
    ]:
        assert np.mean((voxels >= low) & (voxels <= high)) > least, (low, high)


def test_same_seed_same_volume_and_another_seed_another_patient(volume):
    again = phantom.chest((6, 128, 128), (2.5, 2.8, 2.8), rng())
    other = phantom.chest((6, 128, 128), (2.5, 2.8, 2.8), rng(1))
    assert np.array_equal(volume.voxels, again.voxels)
    assert volume.series_uid == again.series_uid
    assert volume.digest != other.digest
    assert volume.study_uid != other.study_uid


def test_no_generator_means_always_the_same_patient():
    assert phantom.chest((2, 32, 32)).digest == phantom.chest((2, 32, 32)).digest


def test_geometry_is_centred_and_in_lps(volume):
    assert volume.spacing_mm == pytest.approx((2.5, 2.8, 2.8))
    assert volume.position_mm((2.5, 63.5, 63.5)) == pytest.approx((0, 0, 0))
    assert volume.position_mm((3.5, 63.5, 63.5)) == pytest.approx((0, 0, 2.5))
    assert (len(volume.sources), len(volume.sop_instance_uids)) == (6, 6)


@cache
def noise(kernel: str) -> np.ndarray:
    """(8, 128, 128) of noise alone: two patients that differ by nothing else."""
    args = ((8, 128, 128), (2.5, 0.7, 0.7))
    loud = phantom.chest(*args, rng(), noise_hu=25, kernel=kernel).voxels
    return loud - phantom.chest(*args, rng(), noise_hu=0, kernel=kernel).voxels


def test_noise_has_the_asked_strength_at_the_centre_and_less_outside():
    difference = noise("standard")
    assert np.std(difference[:, 48:80, 48:80]) == pytest.approx(25, rel=0.1)
    assert np.std(difference[:, 100:110, 2:12]) < 25


def power(image: np.ndarray, low: float, high: float) -> float:
    """Mean power between two frequencies, in cycles per pixel."""
    frequency = np.hypot(fft.fftfreq(image.shape[-2])[:, None], fft.fftfreq(image.shape[-1]))
    spectrum = np.mean(np.abs(fft.fft2(image)) ** 2, axis=0)
    return float(spectrum[(frequency >= low) & (frequency < high)].mean())


def test_noise_spectrum_rises_like_a_ramp_and_falls_with_the_kernel():
    centre = noise("standard")[:, 32:96, 32:96]
    assert power(centre, 0.15, 0.25) > 2 * power(centre, 0.0, 0.05)
    assert power(centre, 0.15, 0.25) > 2 * power(centre, 0.42, 0.5)
    share = {k: power(noise(k), 0.35, 0.5) / power(noise(k), 0.05, 0.2) for k in ("soft", "standard", "sharp")}
    assert share["soft"] < share["standard"] < share["sharp"]


def test_neighbouring_slices_share_little_noise():
    centre = noise("standard")[:, 48:80, 48:80]
    assert 0.1 < np.corrcoef(centre[:-1].ravel(), centre[1:].ravel())[0, 1] < 0.5


@pytest.mark.parametrize(("shape", "kernel"), [((0, 8, 8), "standard"), ((1, 8, 8), "bony")])
def test_nonsense_is_refused(shape, kernel):
    with pytest.raises(UsageError):
        phantom.chest(shape, kernel=kernel)


def test_radiograph_is_one_slice_of_stored_values():
    volume = phantom.radiograph((96, 80), rng())
    assert (volume.modality, volume.shape) == ("DX", (1, 96, 80))
    assert 0 <= volume.voxels.min() < volume.voxels.max() <= 4095
    assert np.array_equal(volume.voxels, phantom.radiograph((96, 80), rng()).voxels)


def test_dicom_reads_back_with_pixels_and_geometry(volume, tmp_path: Path):
    paths = phantom.write_dicom(volume, tmp_path / "new" / "series")
    assert [p.name for p in paths] == [f"IM{k:04d}.dcm" for k in range(1, 7)]
    datasets = [pydicom.dcmread(p) for p in paths]
    stored = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets])
    assert np.array_equal(stored, volume.voxels)
    assert {d.SeriesInstanceUID for d in datasets} == {volume.series_uid}
    assert [d.SOPInstanceUID for d in datasets] == list(volume.sop_instance_uids)
    for k, dataset in enumerate(datasets):
        assert [float(v) for v in dataset.ImagePositionPatient] == pytest.approx(volume.position_mm((k, 0, 0)))
        assert [float(v) for v in dataset.PixelSpacing] == pytest.approx([2.8, 2.8])
        assert [float(v) for v in dataset.ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]


def test_every_file_says_that_it_is_synthetic(volume, tmp_path: Path):
    for path in phantom.write_dicom(volume, tmp_path):
        dataset = pydicom.dcmread(path)
        assert dataset[0x0008, 0x001C].value == "YES"
        (purpose,) = dataset.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
        assert dataset.PatientName == "PHANTOM^CHEST"


def test_writing_twice_gives_the_same_bytes_and_a_forgery_another_series(volume, tmp_path: Path):
    first, second = phantom.write_dicom(volume, tmp_path / "a"), phantom.write_dicom(volume, tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    changed = volume.voxels.copy()
    changed[3, 60, 60] += 300
    forged = phantom.write_dicom(replace(volume, voxels=changed), tmp_path / "c")
    before, after = pydicom.dcmread(first[0]), pydicom.dcmread(forged[0])
    assert after.StudyInstanceUID == before.StudyInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert after.SOPInstanceUID != before.SOPInstanceUID


def test_oblique_geometry_padding_and_fractions_survive(tmp_path: Path):
    affine = np.array([[0.1, 0.0, 0.8, -7.0], [0.3, 0.6, 0.0, 5.0], [1.9, -0.8, 0.0, 1 / 3], [0, 0, 0, 1]])
    voxels = np.full((2, 4, 5), -2000.25, np.float32)
    volume = replace(phantom.chest((2, 4, 5)), voxels=voxels, affine=affine, padding=-2000.0)
    datasets = [pydicom.dcmread(p) for p in phantom.write_dicom(volume, tmp_path)]
    assert datasets[0].pixel_array[0, 0] == -976
    assert datasets[0].PixelPaddingValue == -976
    step = np.subtract(datasets[1].ImagePositionPatient, datasets[0].ImagePositionPatient)
    assert step.astype(float) == pytest.approx(affine[:3, 0])


def test_a_header_that_was_read_is_written_back(volume, tmp_path: Path):
    header = {"manufacturer": "ACME", "model": None, "kernel": ["B30f", "3"], "slice_thickness_mm": 5}
    dataset = pydicom.dcmread(phantom.write_dicom(replace(volume, header=header), tmp_path)[0])
    assert list(dataset.ConvolutionKernel) == ["B30f", "3"]
    assert (dataset.Manufacturer, dataset.ManufacturerModelName, float(dataset.SliceThickness)) == ("ACME", "", 5.0)


def test_what_ct_objects_cannot_hold_is_refused(volume, tmp_path: Path):
    with pytest.raises(UsageError, match="DX"):
        phantom.write_dicom(phantom.radiograph((8, 8)), tmp_path)
    with pytest.raises(UsageError, match="16 bits"):
        phantom.write_dicom(replace(volume, voxels=volume.voxels + np.float32(1e6)), tmp_path)
    phantom.write_dicom(volume, tmp_path)
    with pytest.raises(UsageError, match="already there"):
        phantom.write_dicom(volume, tmp_path)
