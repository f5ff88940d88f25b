"""Voxels are what was stored, on the grid that the header states, or there is a typed error."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from builders import AXIAL, ct, jpeg_lossless, nifti, pixels, png, rgb, to_bytes, zipped
from tamperscope import errors, study
from tamperscope.decode import decode
from tamperscope.records import Reading, Series, Volume

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def series_of(source: Any) -> Series:
    reading = study.read(source)
    assert not reading.failed, reading.failed
    return reading.studies[0].series[0]


def volume_of(source: Any) -> Volume:
    return decode(series_of(source))


def compressed(dataset: Dataset, syntax: str, **options: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(syntax, generate_instance_uid=False, **options)
    return to_bytes(dataset)


def test_ct_is_hounsfield_in_float32_with_everything_stated() -> None:
    arrays = [pixels(seed=index) for index in range(3)]
    slices = [
        ct(array, index=index, RescaleSlope=1 + index / 2, PixelPaddingValue=-2000)
        for index, array in enumerate(arrays)
    ]
    volume = volume_of([to_bytes(entry) for entry in reversed(slices)])
    assert volume.voxels.dtype == np.float32
    assert volume.shape == (3, 12, 10)
    for index, array in enumerate(arrays):
        np.testing.assert_array_equal(volume.voxels[index], (array * (1 + index / 2) - 24).astype(np.float32))
    assert volume.padding == -2024
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.5))
    assert volume.position_mm((2, 0, 0)) == pytest.approx((-5, -6, 5))
    assert volume.position_mm((0, 1, 2)) == pytest.approx((-5 + 2 * 0.5, -6 + 0.8, 0))
    assert volume.geometry == "patient"
    assert volume.sop_instance_uids == tuple(entry.SOPInstanceUID for entry in slices)
    assert volume.sources == ("bytes 3", "bytes 2", "bytes 1")
    assert volume.decoders == (f"pydicom {pydicom.__version__}",)
    assert volume.findings == ()


def test_digest_is_of_the_picture_not_of_the_file() -> None:
    plain = volume_of(to_bytes(ct()))
    packed = volume_of(to_bytes(ct(syntax=uid.DeflatedExplicitVRLittleEndian)))
    other = volume_of(to_bytes(ct(pixels(seed=5))))
    assert plain.digest == packed.digest != other.digest
    assert len(plain.digest) == 64


@pytest.mark.parametrize(
    "syntax",
    [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_lossless_syntaxes_are_bit_exact(syntax: str, kind: type[np.generic]) -> None:
    # Bit depths that fill the container, and for signed ones values of both signs.
    array = np.random.default_rng(3).integers(0, 200, (32, 40)).astype(kind)
    if kind is not np.uint8:
        array *= 150
    if kind is np.int16:
        array -= array.dtype.type(9000)
    data = compressed(ct(array), syntax) if syntax != uid.DeflatedExplicitVRLittleEndian else to_bytes(
        ct(array, syntax=syntax)
    )  # fmt: skip
    np.testing.assert_array_equal(volume_of(data).voxels[0], array.astype(np.float32) - 24)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_lossless_colour_is_bit_exact(syntax: str) -> None:
    array = np.random.default_rng(1).integers(0, 256, (36, 40, 3)).astype(np.uint8)
    values = {"PhotometricInterpretation": "YBR_RCT"} if syntax == uid.JPEG2000Lossless else {}
    volume = volume_of(compressed(rgb(array, **values), syntax))
    np.testing.assert_array_equal(volume.voxels[0], array)
    assert volume.luminance.shape == (1, 36, 40)


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_jpeg_lossless_is_bit_exact(syntax: str, kind: type[np.generic]) -> None:
    array = np.random.default_rng(3).integers(-30000, 30000, (24, 20)).astype(kind)
    dataset = ct(array, syntax=syntax)
    dataset.PixelData = encapsulate([jpeg_lossless(array.view(np.uint16))])
    np.testing.assert_array_equal(volume_of(to_bytes(dataset)).voxels[0], array.astype(np.float32) - 24)


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2K])
def test_htj2k_is_decoded(syntax: str) -> None:
    # The codec tells HTJ2K from JPEG 2000 by the codestream, so a JPEG 2000 one travels through the same door.
    array = pixels(32, 32)
    dataset = ct(array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(uid.JPEG2000Lossless)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(volume_of(to_bytes(dataset)).voxels[0], array - 24)


@pytest.mark.parametrize(
    ("name", "maximum"),
    [
        ("MR_small_RLE.dcm", 0),
        ("MR_small_jpeg_ls_lossless.dcm", 0),
        ("MR_small_jp2klossless.dcm", 0),
        ("MR_small_bigendian.dcm", 0),
        ("MR_small_implicit.dcm", 0),
        ("J2K_pixelrep_mismatch.dcm", 0),
        ("examples_palette.dcm", 0),
        ("SC_rgb_small_odd_big_endian.dcm", 0),
        ("SC_rgb_jpeg_gdcm.dcm", 0),
        ("SC_rgb_rle_16bit_2frame.dcm", 0),
        ("SC_ybr_full_422_uncompressed.dcm", 1),
        ("SC_rgb_jpeg_dcmtk.dcm", 1),
        ("SC_rgb_dcmtk_+eb+cr.dcm", 0),
        ("SC_rgb_jpeg_app14_dcmd.dcm", 0),
    ],
)
def test_files_of_other_writers_agree_with_pydicom(name: str, maximum: float) -> None:
    path = get_testdata_file(name, download=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        expected = dataset.pixel_array.astype(np.float64)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            expected = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset)[..., :3].astype(np.float64)
        if dataset.get("Modality") == "CT":
            expected = expected * dataset.RescaleSlope + dataset.RescaleIntercept
    volume = volume_of(path)
    assert np.abs(volume.voxels - expected.reshape(volume.voxels.shape)).max() <= maximum


def test_monochrome1_is_not_inverted_and_other_modalities_are_stored_values() -> None:
    array = pixels()
    volume = volume_of(to_bytes(ct(array, Modality="CR", PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(volume.voxels[0], array)
    assert volume.photometric == "MONOCHROME1"


def test_unused_bits_and_high_bit() -> None:
    stored = np.array([[-5, 7], [2047, -2048]], dtype=np.int16)
    twelve = (stored.view(np.uint16) & 0x0FFF) | 0x5000
    data = to_bytes(ct(twelve.view(np.int16), BitsStored=12, HighBit=11, RescaleIntercept=0))
    np.testing.assert_array_equal(volume_of(data).voxels[0], stored)
    high = ((stored.view(np.uint16) & 0x0FFF) << 4) | 0x3
    data = to_bytes(ct(high.view(np.int16), BitsStored=12, HighBit=15, RescaleIntercept=0))
    np.testing.assert_array_equal(volume_of(data).voxels[0], stored)


def test_one_bit_and_float_pixels() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset = ct(bits[0], Modality="OT", NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    np.testing.assert_array_equal(volume_of(to_bytes(dataset)).voxels, bits)
    values = np.array([[1.5, np.nan], [-2.0, 4.0]], np.float32)
    real = ct(np.zeros((2, 2), np.float32), Modality="OT", PixelData=None)
    real.FloatPixelData = values.tobytes()
    volume = volume_of(to_bytes(real))
    np.testing.assert_array_equal(volume.voxels[0], [[1.5, -2.0], [-2.0, 4.0]])
    assert "not finite: 1" in volume.findings[-1]


def test_padding_written_with_the_wrong_sign() -> None:
    dataset = ct()
    dataset.add_new("PixelPaddingValue", "US", 63536)
    assert volume_of(to_bytes(dataset)).padding == -2000 - 24


def jpeg(array: np.ndarray, transform: int | None) -> bytes:
    """JPEG baseline whose JFIF mark is replaced by Adobe's with a colour transform flag, or by nothing."""
    stream = png(array, "JPEG", quality=95, subsampling=0)
    start = stream.index(b"\xff\xe0")
    end = start + 2 + int.from_bytes(stream[start + 2 : start + 4], "big")
    adobe = b"" if transform is None else b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return stream[:start] + adobe + stream[end:]


@pytest.mark.parametrize("transform", [None, 1])
def test_jpeg_colour_is_converted_once(transform: int | None) -> None:
    array = np.full((16, 16, 3), (200, 50, 30), np.uint8)
    dataset = rgb(array, syntax=uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = encapsulate([jpeg(array, transform)])
    np.testing.assert_allclose(volume_of(to_bytes(dataset)).voxels[0, 5, 5], (200, 50, 30), atol=2)


def test_palette_is_applied_and_its_ends_are_guarded() -> None:
    indices = np.array([[0, 1], [2, 250]], np.uint8)
    dataset = ct(indices, Modality="OT", PhotometricInterpretation="PALETTE COLOR")
    for name, entries in (("Red", [9, 8, 7]), ("Green", [1, 2, 3]), ("Blue", [4, 5, 6])):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", np.array(entries, "<u2").tobytes())
    volume = volume_of(to_bytes(dataset))
    np.testing.assert_array_equal(volume.voxels[0], [[[9, 1, 4], [8, 2, 5]], [[7, 3, 6], [7, 3, 6]]])
    assert volume.bits_stored == 16
    dataset.RedPaletteColorLookupTableData = b"\0\0"
    with pytest.raises(errors.UnreadableError, match="palette is cut short"):
        volume_of(to_bytes(dataset))


def enhanced(order: list[int]) -> tuple[bytes, np.ndarray]:
    """Enhanced CT whose frames lie at 3 mm x their place in ``order``, with a rescale of their own."""
    arrays = np.stack([pixels(seed=frame) for frame in range(len(order))])
    dataset = ct(
        arrays[0],
        SOPClassUID=uid.EnhancedCTImageStorage,
        NumberOfFrames=len(order),
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        RescaleSlope=None,
        RescaleIntercept=None,
    )
    dataset.PixelData = arrays.tobytes()
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = AXIAL
    measures.PixelSpacing = [0.7, 0.6]
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for frame, place in enumerate(order):
        group, position, transform = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [1, 2, 3.0 * place]
        transform.RescaleSlope, transform.RescaleIntercept = 2, -frame
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([transform])
        frames.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    expected = np.stack([arrays[frame] * 2 - frame for frame in np.argsort(order)])
    return to_bytes(dataset), expected


def test_enhanced_multiframe_takes_its_functional_groups() -> None:
    data, expected = enhanced([2, 0, 3, 1])
    series = series_of(data)
    assert series.instances[0].frames == 4
    volume = decode(series)
    np.testing.assert_array_equal(volume.voxels, expected)
    assert volume.spacing_mm == pytest.approx((3.0, 0.7, 0.6))
    assert volume.position_mm((0, 0, 0)) == (1, 2, 0)
    assert len(set(volume.sop_instance_uids)) == 1
    assert len(volume.sources) == 4
    assert volume.frames == (2, 4, 1, 3)
    gapped, _ = enhanced([0, 1, 2, 5])
    assert "apart where 3.00 mm is usual" in volume_of(gapped).findings[0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_oblique_and_sagittal_axes(order: tuple[int, int]) -> None:
    tilt = np.deg2rad(20)
    along = [0, np.cos(tilt), np.sin(tilt)]
    down = [0.0, -np.sin(tilt), np.cos(tilt)]
    normal = np.cross(along, down)
    slices = [
        ct(index=index, ImageOrientationPatient=[*along, *down], ImagePositionPatient=list(normal * 4.0 * place))
        for index, place in enumerate(order)
    ]
    affine = volume_of([to_bytes(entry) for entry in slices]).affine
    np.testing.assert_allclose(affine[:3, 0], normal * 4.0, atol=1e-6)
    np.testing.assert_allclose(affine[:3, 1], np.array(down) * 0.8, atol=1e-6)
    np.testing.assert_allclose(affine[:3, 2], np.array(along) * 0.5, atol=1e-6)


def test_irregular_stack_is_not_resampled() -> None:
    volume = volume_of([to_bytes(ct(index=index)) for index in (0, 1, 2, 4)])
    assert volume.shape[0] == 4
    assert volume.spacing_mm[0] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("change", "geometry", "spacing"),
    [
        ({}, "patient", (5.0, 0.8, 0.5)),
        ({"SpacingBetweenSlices": 3.0}, "patient", (3.0, 0.8, 0.5)),
        ({"ImagePositionPatient": None}, "spacing", (5.0, 0.8, 0.5)),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "spacing", (5.0, 0.8, 0.5)),
        (
            {"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.2], "ImagePositionPatient": None},
            "spacing",
            (5, 0.1, 0.2),
        ),
        ({"PixelSpacing": None}, "none", (1.0, 1.0, 1.0)),
    ],
)
def test_single_slice_geometry(change: dict[str, Any], geometry: str, spacing: tuple[float, ...]) -> None:
    volume = volume_of(to_bytes(ct(**change)))
    assert volume.geometry == geometry
    assert volume.spacing_mm == pytest.approx(spacing)
    assert bool(volume.findings) == (geometry != "patient")


def test_nifti_axes_scale_and_frame() -> None:
    array = np.random.default_rng(0).integers(-1000, 900, (3, 4, 5)).astype(np.int16)
    array[0, 0, 0] = -1000
    affine = np.array([[0, -2.0, 0, 10], [3.0, 0, 0, 20], [0, 0, 4.0, 30], [0, 0, 0, 1]])
    image = nib.Nifti1Image(array, affine)
    plain = volume_of(image.to_bytes())
    np.testing.assert_array_equal(plain.voxels, array.transpose(2, 1, 0))
    x, y, z, _ = affine @ [1, 2, 3, 1]
    assert plain.position_mm((3, 2, 1)) == pytest.approx((-x, -y, z))
    assert plain.modality == "OT"
    assert plain.header["looks_like_hounsfield"] is True
    image.header.set_slope_inter(0.5, 7)
    stream = io.BytesIO()
    image.header.write_to(stream)
    scaled = stream.getvalue().ljust(352, b"\0") + array.tobytes(order="F")
    np.testing.assert_allclose(volume_of(gzip.compress(scaled)).voxels, array.transpose(2, 1, 0) * 0.5 + 7)


def test_nifti_that_is_not_read() -> None:
    four = study.read(nifti(np.zeros((2, 3, 4, 5), np.int16)))
    assert "4 axes" in four.failed[0].error
    series = series_of(nifti(np.zeros((8, 9, 10), np.int16))[:-10])
    with pytest.raises(errors.UnreadableError, match="1440 bytes expected, 1430"):
        decode(series)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_are_exact(kind: str, dtype: type[np.generic]) -> None:
    array = (np.arange(120).reshape(10, 12) * (500 if dtype is np.uint16 else 2)).astype(dtype)
    volume = volume_of(png(array, kind))
    np.testing.assert_array_equal(volume.voxels[0], array)
    assert volume.bits_stored == array.dtype.itemsize * 8
    assert volume.geometry == "none"


def test_colour_alpha_palette_jpeg_and_pages() -> None:
    array = np.random.default_rng(0).integers(0, 255, (6, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(volume_of(png(array)).voxels[0], array)
    alpha = volume_of(png(np.dstack([array, np.full((6, 7), 9, np.uint8)])))
    np.testing.assert_array_equal(alpha.voxels[0], array)
    assert alpha.findings == ("the alpha channel is dropped",)
    indexed = io.BytesIO()
    Image.fromarray(array).convert("P", palette=Image.Palette.ADAPTIVE).save(indexed, "PNG")
    assert volume_of(indexed.getvalue()).voxels.shape == (1, 6, 7, 3)
    assert volume_of(png(array[..., 0], "JPEG")).shape == (1, 6, 7)
    first, second = (Image.fromarray(array[..., channel]) for channel in (0, 1))
    pages = io.BytesIO()
    first.save(pages, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(volume_of(pages.getvalue()).voxels, array[..., :2].transpose(2, 0, 1))
    uneven = io.BytesIO()
    first.save(uneven, "TIFF", save_all=True, append_images=[second.crop((0, 0, 3, 3))])
    with pytest.raises(errors.UnreadableError, match="page 1"):
        volume_of(uneven.getvalue())


def failing(source: Any, limits: study.Limits = study.DEFAULT_LIMITS) -> str:
    """The error of an input that must not be decoded, from reading or from decoding."""
    reading: Reading = study.read(source, limits)
    if reading.failed:
        return reading.failed[0].error
    with pytest.raises(errors.TamperscopeError) as caught:
        decode(reading.studies[0].series[0], limits)
    assert caught.value.hint
    return caught.value.message


def test_limits_are_kept_before_anything_is_allocated() -> None:
    few = study.Limits(max_pixels=200)
    assert "240 are declared" not in failing(
        to_bytes(ct(pixels(10, 10), Rows=65535, Columns=65535, NumberOfFrames=9999))
    )
    assert "1 x 12 x 10 x 1 samples" in failing(to_bytes(ct()), study.Limits(max_pixels=100))
    assert "2 x 12 x 10 samples" in failing([to_bytes(ct(index=0)), to_bytes(ct(index=1))], few)
    assert "samples are declared" in failing(png(np.zeros((30, 30), np.uint8)), few)
    assert "samples are declared" in failing(nifti(np.zeros((9, 9, 9), np.uint8)), few)


def test_a_codestream_of_another_size_is_refused_before_decoding() -> None:
    for syntax in (uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless):
        dataset = ct(pixels(32, 32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.compress(syntax)
        dataset.Rows = 3200
        assert "the codestream 32 x 32" in (text := failing(to_bytes(dataset))) or "RLE header does not fit" in text
    # The size in the codestream itself: 16384 x 16384 in a few hundred bytes.
    data = compressed(ct(pixels(32, 32)), uid.JPEG2000Lossless)
    at = data.index(b"\xff\x4f\xff\x51") + 8
    assert "16384 x 16384" in failing(data[:at] + struct.pack(">II", 16384, 16384) + data[at + 8 :])


def test_twelve_bit_jpeg_is_unsupported_and_says_the_way_out() -> None:
    series = series_of(get_testdata_file("JPGExtended.dcm", download=False))
    with pytest.raises(errors.UnsupportedError, match=r"12-bit JPEG Extended.*1\.2\.840\.10008\.1\.2\.4\.51") as caught:
        decode(series)
    assert "explicit VR little endian" in caught.value.hint


def test_one_bad_slice_is_named(tmp_path: Path) -> None:
    for index in range(3):
        data = compressed(ct(pixels(32, 32, index), index=index), uid.JPEGLSLossless)
        if index == 1:
            middle = data.index(b"\xff\xda") + 200
            data = data[:middle] + bytes(40) + data[middle + 40 :]
        (tmp_path / f"slice{index}.dcm").write_bytes(data)
    series = series_of(tmp_path)
    with pytest.raises(errors.UnreadableError, match=r"slice1\.dcm"):
        decode(series)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-ls", "jpeg 2000", "rle", "jpeg lossless"])
def test_a_codestream_that_is_cut_short_is_refused(name: str) -> None:
    array = pixels(32, 32)
    if name == "jpeg":
        array = array.astype(np.uint8)
        syntax, stream = uid.JPEGBaseline8Bit, png(array, "JPEG", quality=90)
    elif name == "jpeg lossless":
        syntax, stream = uid.JPEGLossless, jpeg_lossless(array.view(np.uint16))
    else:
        dataset = ct(array)
        syntax = {"jpeg-ls": uid.JPEGLSLossless, "jpeg 2000": uid.JPEG2000Lossless, "rle": uid.RLELossless}[name]
        dataset.compress(syntax)
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for keep in (len(stream) // 2, len(stream) - 70):
        cut = ct(array, syntax=syntax)
        cut.PixelData = encapsulate([stream[:keep]])
        assert failing(to_bytes(cut))


def test_frames_missing_from_a_multiframe_object() -> None:
    frames = np.stack([pixels(16, 16, seed) for seed in range(3)])
    dataset = ct(frames[0], NumberOfFrames=3)
    dataset.PixelData = frames.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(uid.RLELossless)
    np.testing.assert_array_equal(volume_of(to_bytes(dataset)).voxels, frames - 24)
    dataset.NumberOfFrames = 5
    assert "5 frames declared, 3 there" in failing(to_bytes(dataset))


def test_decoding_from_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    path.write_bytes(zipped({f"{index}": to_bytes(ct(index=index)) for index in range(3)}))
    assert volume_of(path).digest == volume_of([to_bytes(ct(index=index)) for index in range(3)]).digest


SEEDS: dict[str, Callable[[], bytes]] = {
    "raw": lambda: to_bytes(ct()),
    "jpeg-ls": lambda: compressed(ct(), uid.JPEGLSLossless),
    "jpeg 2000": lambda: compressed(ct(pixels(32, 32)), uid.JPEG2000Lossless),
    "rle": lambda: compressed(ct(), uid.RLELossless),
    "deflated": lambda: to_bytes(ct(syntax=uid.DeflatedExplicitVRLittleEndian)),
    "enhanced": lambda: enhanced([1, 0])[0],
    "png": lambda: png(pixels().astype(np.uint8)),
    "tiff": lambda: png(pixels().astype(np.uint16), "TIFF"),
    "jpeg": lambda: png(pixels().astype(np.uint8), "JPEG"),
    "nifti": lambda: nifti(np.zeros((3, 4, 5), np.int16)),
    "zip": lambda: zipped({"a": to_bytes(ct())}),
}
MODEST = study.Limits(max_pixels=2**20, max_inflated_bytes=2**22)


@pytest.mark.parametrize("name", SEEDS)
def test_damage_gives_a_result_or_a_typed_error(name: str) -> None:
    seed = SEEDS[name]()

    @FUZZ
    @given(
        edits=st.lists(st.tuples(st.integers(0, len(seed) - 1), st.integers(0, 255)), max_size=4),
        keep=st.one_of(st.just(len(seed)), st.integers(0, len(seed))),
    )
    def check(edits: list[tuple[int, int]], keep: int) -> None:
        data = bytearray(seed)
        for place, byte in edits:
            data[place] = byte
        for entry in study.read(bytes(data[:keep]), MODEST).studies:
            for series in entry.series:
                try:
                    volume = decode(series, MODEST)
                except errors.TamperscopeError:
                    continue
                assert np.isfinite(volume.voxels).all()

    check()
