"""The nouns of tamperscope as frozen records. They hold data and derive facts from it; they decide nothing.

Axis order is (k, j, i) = (slice, row, column) everywhere, positions are millimetres in the patient's LPS frame
(DICOM PS3.3 C.7.6.2.1.1), intensities are Hounsfield units for CT and stored values otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
Label: TypeAlias = Literal["suspicious", "no_evidence", "inconclusive"]
Format: TypeAlias = Literal["dicom", "nifti", "picture"]
Geometry: TypeAlias = Literal["patient", "spacing", "none"]
Severity: TypeAlias = Literal["note", "warning", "alarm"]
Origin: TypeAlias = Literal["verified", "absent", "broken", "contradictory"]
FloatArray: TypeAlias = NDArray[np.float32]
MaskArray: TypeAlias = NDArray[np.bool_]

SCHEMA = "tamperscope/report/1"


@dataclass(frozen=True, slots=True)
class Instance:
    """One stored object: a DICOM instance, a NIfTI file or a picture. Its bytes are fetched by `study.payload`."""

    source: str
    """The name a user knows it by: a path, or ``archive.zip!member``."""
    path: Path | None = None
    """The file, or the archive that holds it; None for bytes that were handed over."""
    member: str | None = None
    """Name inside the archive, if it came from one."""
    data: bytes | None = field(default=None, repr=False)
    """The bytes themselves where there is no path (the archive's bytes if ``member`` is set)."""
    sop_instance_uid: str | None = None
    sha256: str = ""
    """Digest of the file's bytes, hexadecimal."""
    frames: int = 1
    position: float | None = None
    """Millimetres along the slice normal (ImagePositionPatient projected on it), if known."""
    moment: str | None = None
    """Digest of device, time and place of the acquisition, where the time is stated to fractions of a second."""
    rival: Instance | None = field(default=None, repr=False)
    """Another file of this SOP Instance UID and with other content, which is in no series."""


@dataclass(frozen=True, slots=True)
class Series:
    """Instances that belong together, in the order of their slices. No pixels are decoded yet."""

    series_uid: str | None
    study_uid: str | None
    modality: str
    format: Format
    instances: tuple[Instance, ...]
    header: Mapping[str, JSON] = field(default_factory=dict)
    """Acquisition facts in snake case (manufacturer, model, kernel, body_part, slice_thickness_mm, ...), never
    identifying the patient."""
    findings: tuple[str, ...] = ()
    """Plain sentences about the geometry: gaps, duplicate positions, missing orientation."""


@dataclass(frozen=True, slots=True)
class Study:
    """What was read of one study: its series, and where it came from."""

    source: str
    study_uid: str | None
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that is no image to analyse (localiser, report, presentation state ...), and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be used: the error and the way out."""

    source: str
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class Reading:
    """All that `study.read` found below the paths it was given."""

    studies: tuple[Study, ...]
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The pixels of one series on its own grid. A radiograph is a Volume with D = 1."""

    voxels: FloatArray
    """float32 (D, H, W), or (D, H, W, 3) RGB for a colour image; Hounsfield units for CT, else stored values."""
    affine: NDArray[np.float64]
    """(4, 4), index (k, j, i, 1) to millimetres (x, y, z, 1) in LPS."""
    modality: str
    format: Format = "dicom"
    geometry: Geometry = "patient"
    """"patient": positions are real; "spacing": only voxel sizes are; "none": the affine is in voxels."""
    bits_stored: int = 16
    photometric: str = "MONOCHROME2"
    """As stored. MONOCHROME1 is inverted for display only, never in ``voxels`` (PS3.3 C.7.6.3.1.2)."""
    padding: float | None = None
    """Value of pixels outside the field of view after rescale (Pixel Padding Value, PS3.3 C.7.5.1.1.2)."""
    header: Mapping[str, JSON] = field(default_factory=dict)
    series_uid: str | None = None
    study_uid: str | None = None
    sources: tuple[str, ...] = ()
    """The file of each slice, D entries."""
    sop_instance_uids: tuple[str | None, ...] = ()
    """The SOP Instance UID of each slice, D entries."""
    frames: tuple[int, ...] = ()
    """Which frame of its file each slice is, counted from 1 as DICOM does, D entries."""
    digest: str = ""
    """`voxel_digest` of the decoded voxels: the same picture in another file has the same digest."""
    findings: tuple[str, ...] = ()
    decoders: tuple[str, ...] = ()
    """Name and version of each decoder that took part."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W), without the colour axis."""
        depth, height, width = self.voxels.shape[:3]
        return depth, height, width

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along k, j and i, in millimetres (voxels if geometry is "none")."""
        k, j, i = (float(x) for x in np.linalg.norm(self.affine[:3, :3], axis=0))
        return k, j, i

    @property
    def luminance(self) -> FloatArray:
        """(D, H, W): the voxels themselves, or the ITU-R BT.601 luma of a colour image (JFIF, section 3)."""
        if self.voxels.ndim == 3:
            return self.voxels
        return np.asarray(self.voxels @ np.array([0.299, 0.587, 0.114], dtype=np.float32), dtype=np.float32)

    def slab(self, first: int, last: int) -> Volume:
        """Slices ``first`` to ``last`` - 1 as a volume of their own, sharing the voxels; its digest says what it is."""
        affine = self.affine.copy()
        affine[:3, 3] = self.position_mm((first, 0, 0))
        return replace(
            self,
            voxels=self.voxels[first:last],
            affine=affine,
            sources=self.sources[first:last],
            sop_instance_uids=self.sop_instance_uids[first:last],
            frames=self.frames[first:last],
            digest=f"{self.digest}[{first}:{last}]",
        )

    def position_mm(self, index: tuple[float, float, float]) -> tuple[float, float, float]:
        """Voxel index (k, j, i) to (x, y, z) millimetres in LPS."""
        x, y, z = (float(v) for v in (self.affine @ np.array([*index, 1.0]))[:3])
        return x, y, z


def voxel_digest(voxels: FloatArray) -> str:
    """SHA-256 over shape, type and values of float32 voxels, hexadecimal: what `Volume.digest` holds."""
    state = hashlib.sha256(f"{voxels.shape} {voxels.dtype.str}".encode())
    state.update(np.ascontiguousarray(voxels).data)
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Region:
    """A connected suspicious place in the volume."""

    centre_index: tuple[int, int, int]
    centre_mm: tuple[float, float, float] | None
    """(x, y, z) in LPS; None where the series states no position."""
    box_index: tuple[tuple[int, int, int], tuple[int, int, int]]
    """First and last voxel (k, j, i), both inclusive."""
    diameter_mm: float | None
    """Largest side of the box in the slice plane; None without spacing."""
    score: float
    """Highest calibrated probability inside."""
    mask: MaskArray | None = field(default=None, repr=False, compare=False)
    """Which voxels of the box belong to the region, (k, j, i); None where a report was read back."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What one detector found. ``score`` None means that it does not apply; ``reasons`` then say why."""

    detector: str
    score: float | None
    """Raw, higher is more suspicious; comparable only within one detector."""
    probability: float | None = None
    """Calibrated; None until `calibrate` has seen it, or where no calibration exists."""
    heatmap: FloatArray | None = field(default=None, repr=False)
    """float32 (D, H, W) on the volume's grid: raw from `detect`, calibrated probabilities after `calibrate`."""
    slice_scores: tuple[float, ...] = ()
    """One per slice (D), raw or calibrated like the heat map."""
    places: float = 1.0
    """How many separate places of the body the score is the highest of; calibration corrects for it."""
    reasons: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    """What has been done to the pixels that hides forgeries: a low score then clears nothing."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where "suspicious" begins: the false alarms per authentic series that it was set for."""

    false_positive_rate: float
    threshold: float
    """On the calibrated probability."""
    miss_rate: float | None = None
    """Share of held-out simulated forgeries that stay below the threshold; None where it was not measured."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fused answer for one series."""

    label: Label
    probability: float | None
    operating_point: OperatingPoint | None
    regions: tuple[Region, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Forgery:
    """A manipulated volume with its ground truth."""

    volume: Volume
    mask: MaskArray = field(repr=False)
    """(D, H, W): exactly the voxels whose value changed; empty for a benign change."""
    record: Mapping[str, JSON]
    """Attack, parameters and digest of the input: replays the forgery bit for bit."""


@dataclass(frozen=True, slots=True)
class SliceScore:
    """The calibrated score of one slice, with the file it came from."""

    index: int
    file: str
    sop_instance_uid: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen of where a file comes from, and what it rests on."""

    check: str
    """Which check found it, in kebab case."""
    severity: Severity
    """"note": said and no more; "warning": things that do not fit together; "alarm": changed since it was signed."""
    text: str
    """A plain sentence."""
    clause: str
    """The clause of the standard, or the paper, that it rests on."""
    files: tuple[str, ...] = ()
    """Which files; none where it holds for the whole series."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the file says about its own origin: an axis of its own, never mixed into the probability."""

    state: Origin
    """"broken": changed since it was signed; "contradictory": the file contradicts itself; "verified": signed by whom
    the caller trusts, and unchanged since; "absent": none of these, which is common and no sign of guilt."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SeriesResult:
    """Everything that a report says of one series; field names are those of the JSON report."""

    series_uid: str | None
    modality: str
    files: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    verdict: Label
    probability: float | None
    operating_point: OperatingPoint | None
    slices: tuple[SliceScore, ...]
    regions: tuple[Region, ...]
    evidence: tuple[Evidence, ...]
    provenance: Provenance
    reasons: tuple[str, ...]
    heatmap: FloatArray | None = field(default=None, repr=False)
    """float32 (D, H, W), calibrated, on the native grid; None where no model accepts the series."""
    digest: str = ""
    file_digests: tuple[str, ...] = ()
    """SHA-256 of the bytes of each of ``files``, hexadecimal; empty where they are not known."""
    findings: tuple[str, ...] = ()
    name: str = ""
    """Stem of the files written for this series, unique in the report, made of safe characters."""

    @property
    def broken(self) -> bool:
        """Whether it was changed since somebody signed it, which outranks whatever the pixels say."""
        return self.provenance.state == "broken"

    @property
    def alarming(self) -> bool:
        """Whether it needs a look: its pixels are suspicious, or it was changed since it was signed."""
        return self.broken or self.verdict == "suspicious"


@dataclass(frozen=True, slots=True, eq=False)
class StudyResult:
    """The series of one study."""

    source: str
    study_uid: str | None
    series: tuple[SeriesResult, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights took part."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The answer of one scan."""

    studies: tuple[StudyResult, ...]
    failed: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    models: tuple[ModelInfo, ...] = ()
    version: str = ""
    schema: str = SCHEMA

    @property
    def series(self) -> tuple[SeriesResult, ...]:
        """All series of all studies, in order."""
        return tuple(series for study in self.studies for series in study.series)

    @property
    def exit_code(self) -> int:
        """0 clear, 1 suspicious or changed since signed, 2 nothing to read, 3 inconclusive, 4 some inputs failed."""
        labels = {series.verdict for series in self.series}
        if not labels:
            return 2
        if any(series.alarming for series in self.series):
            return 1
        if "inconclusive" in labels:
            return 3
        return 4 if self.failed else 0
