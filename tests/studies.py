"""Small series of every kind on disk, with headers as complete as a validator asks: the input of forgers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "US": "1.2.840.10008.5.1.4.1.1.3.1",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
    "enhanced CT": "1.2.840.10008.5.1.4.1.1.2.1",
}
ROOT = "1.2.826.0.1.7"
PATIENT = "Secret^Name"
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def stored(shape: tuple[int, ...], low: int, high: int, dtype: str = "<i2", seed: int = 0) -> np.ndarray:
    """Random stored values in [low, high), both ends present."""
    values = np.random.default_rng(seed).integers(low, high, shape)
    values.flat[:2] = low, high - 1
    return values.astype(dtype)


def image(kind: str, array: np.ndarray, index: int = 0, **values: Any) -> Dataset:
    """One object of a kind, (H, W), (F, H, W) or (F, H, W, 3); a value of None removes the element."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if kind == "CT" else ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = CLASSES[kind], f"{ROOT}.1.1.{index + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.1.1"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = f"{ROOT}.2", ""
    dataset.PatientName, dataset.PatientID = PATIENT, "SECRET-ID"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19500101", "F", "070Y"
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = "20200229"
    dataset.StudyTime = dataset.ContentTime = dataset.AcquisitionTime = "120000"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Model"
    dataset.Modality = {"SC": "OT", "enhanced CT": "CT"}.get(kind, kind)
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Laterality = 1, index + 1, ""
    dataset.PatientOrientation = ["L", "F"]
    _pixels(dataset, array)
    _OF_KIND[kind](dataset, index)
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def _pixels(dataset: Dataset, array: np.ndarray) -> None:
    """(H, W), (F, H, W), or (F, H, W, 3) RGB."""
    colour = array.ndim == 4
    if array.ndim >= 3:
        dataset.NumberOfFrames = len(array)
    dataset.Rows, dataset.Columns = array.shape[1:3] if colour else array.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = array.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if array.dtype.itemsize > 1 else "OB"


def _plane(dataset: Dataset, index: int) -> None:
    dataset.PatientPosition = "HFS"
    dataset.ImagePositionPatient = [-5.0, -6.0, 2.5 * index]
    dataset.ImageOrientationPatient = AXIAL
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.5], 2.5


def _ct(dataset: Dataset, index: int) -> None:
    _plane(dataset, index)
    dataset.KVP, dataset.AcquisitionNumber = 120, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"


def _mr(dataset: Dataset, index: int) -> None:
    _plane(dataset, index)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength, dataset.RepetitionTime = "2D", 10, 1, 500


def _cr(dataset: Dataset, _index: int) -> None:
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator, dataset.Laterality
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.KVP = "CHEST", "PA", 120
    dataset.ImagerPixelSpacing = [0.5, 0.5]


def _dx(dataset: Dataset, _index: int) -> None:
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LIN", 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape, dataset.LossyImageCompression, dataset.BurnedInAnnotation = "IDENTITY", "00", "NO"
    del dataset.Laterality
    dataset.ImageLaterality = "U"
    dataset.DetectorType, dataset.ImagerPixelSpacing = "DIRECT", [0.5, 0.5]
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "43799004", "SCT", "Chest"
    dataset.AnatomicRegionSequence = Sequence([region])
    dataset.AcquisitionContextSequence = Sequence()


def _mg(dataset: Dataset, index: int) -> None:
    _dx(dataset, index)
    dataset.PositionerType, dataset.BodyPartExamined, dataset.ImageLaterality = "MAMMOGRAPHIC", "BREAST", "R"
    dataset.OrganExposed = "BREAST"
    region, view = Dataset(), Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "76752008", "SCT", "Breast"
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399162004", "SCT", "cranio-caudal"
    view.ViewModifierCodeSequence = Sequence()
    dataset.AnatomicRegionSequence, dataset.ViewCodeSequence = Sequence([region]), Sequence([view])
    dataset.PatientOrientation = ["A", "R"]


def _us(dataset: Dataset, _index: int) -> None:
    """A loop of frames, which have a time and no place."""
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator, dataset.Laterality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    dataset.FrameTime, dataset.FrameIncrementPointer = 40, 0x00181063
    dataset.BodyPartExamined, dataset.LossyImageCompression = "ABDOMEN", "00"


def _sc(dataset: Dataset, _index: int) -> None:
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.ConversionType = "WSD"


def _enhanced(dataset: Dataset, _index: int) -> None:
    """Frames stored from head to foot, each with an intercept of its own (PS3.3 C.7.6.16)."""
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.5], 2.5
    orientation = Dataset()
    orientation.ImageOrientationPatient = AXIAL
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups, count = [], int(dataset.NumberOfFrames)
    for frame in range(count):
        group, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-5.0, -6.0, 2.5 * (count - frame)]
        values.RescaleIntercept, values.RescaleSlope, values.RescaleType = -1024 - frame, 1, "HU"
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)


_OF_KIND = {"CT": _ct, "MR": _mr, "CR": _cr, "DX": _dx, "MG": _mg, "US": _us, "SC": _sc, "enhanced CT": _enhanced}


def write(datasets: list[Dataset], folder: Path) -> Path:
    """A file for each data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder
