"""DICOM, NIfTI, pictures and zips made in memory: the fixtures of reading and decoding."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY, SERIES = "1.2.826.0.1.1", "1.2.826.0.1.1.1"
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def pixels(rows: int = 12, columns: int = 10, seed: int = 0) -> np.ndarray:
    """Signed 12-bit stored values."""
    return np.random.default_rng(seed).integers(-1000, 1000, (rows, columns)).astype(np.int16)


def ct(
    array: np.ndarray | None = None, *, index: int = 0, syntax: str = ExplicitVRLittleEndian, **values: Any
) -> Dataset:
    """One CT slice at z = 2.5 mm x index; a value of None removes the element."""
    array = pixels(seed=index) if array is None else array
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(index), str(values)])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.Modality, dataset.InstanceNumber = "CT", index + 1
    dataset.PatientName = "Secret^Name"
    dataset.ImagePositionPatient = [-5.0, -6.0, 2.5 * index]
    dataset.ImageOrientationPatient = AXIAL
    dataset.PixelSpacing = [0.8, 0.5]
    dataset.SliceThickness = 5.0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -24
    dataset.Rows, dataset.Columns = array.shape[-2:] if array.ndim == 2 else array.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = array.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if array.dtype.itemsize > 1 else "OB"
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def rgb(array: np.ndarray, **values: Any) -> Dataset:
    """A colour secondary capture."""
    return ct(
        array,
        **{
            "Modality": "OT",
            "SamplesPerPixel": 3,
            "PlanarConfiguration": 0,
            "PhotometricInterpretation": "RGB",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
        }
        | values,
    )


def to_bytes(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def png(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def nifti(array: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    image = nib.Nifti1Image(array, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
    return image.to_bytes()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return stream.getvalue()


def jpeg_lossless(array: np.ndarray) -> bytes:
    """JPEG lossless, predictor 1, 16 bits (ITU-T T.81, H.1): no encoder of it is installed."""
    rows, columns = array.shape
    values = array.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[0, 0], predicted[0, 1:] = 2**15, values[0, :-1]
    predicted[1:, 0], predicted[1:, 1:] = values[:-1, 0], values[1:, :-1]
    # Differences are modulo 2^16, in -32767 .. 32768.
    differences = (values - predicted + 32767) % 65536 - 32767
    bits = "".join(_coded(int(difference)) for difference in differences.ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BBHBHHBBBB", 0xFF, 0xC3, 11, 16, rows, columns, 1, 1, 0x11, 0)
    # One Huffman table: the 17 categories, all with codes of five bits.
    counts = bytes([0, 0, 0, 0, 17, *([0] * 11)])
    table = struct.pack(">BBHB", 0xFF, 0xC4, 19 + 17, 0) + counts + bytes(range(17))
    start = struct.pack(">BBHBBBBBB", 0xFF, 0xDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"


def _coded(difference: int) -> str:
    size = abs(difference).bit_length() if difference != 32768 else 16
    code = f"{size:05b}"
    if size in (0, 16):
        return code
    return code + f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}"
