"""LIDC-IDRI: chest CT with the nodules that four radiologists outlined (Armato et al. 2011, TCIA, CC BY 3.0).

Layouts: ``LIDC-IDRI-0001/STUDY/SERIES/*.dcm`` as The Cancer Imaging Archive delivers it, with the marks as an XML
file in the folder of the series or all together in ``LIDC-XML-only/``; and small: ``LIDC-IDRI-0001/*.dcm`` with
``nodules.xml``. An XML file belongs to the series whose UID it states. Checked against real files of two patients in
the small layout; against the published description in the other.

Marks (`marks`) are what one reader drew; `nodules` places them in a volume and joins those that mean one nodule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.errors import InputError, UnreadableError
from tamperscope.records import Volume

Kind: TypeAlias = Literal["nodule", "small nodule", "no nodule"]
PATIENT = "LIDC-IDRI-*"
BASES = ("", "LIDC-IDRI", "lidc")
MARKS = ("LIDC-XML-only", "tcia-lidc-xml")
"""Folders of all XML files together."""
MAX_XML_BYTES = 64 * 2**20
RATINGS = ("subtlety", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture", "malignancy")
SAME_Z_MM = 0.1
"""How far a slice may lie from the position that a mark states."""

FACTS = Facts(
    name="lidc-idri",
    title="LIDC-IDRI",
    source="Armato et al., Med Phys 38:915 (2011); The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.LO9QL9SX",
    licence="CC BY 3.0",
    modality="CT, CR, DX",
    patients="1,010 (1,018 CT scans)",
    patient_key="the folder LIDC-IDRI-0001",
    layout="LIDC-IDRI-0001/STUDY/SERIES/*.dcm with *.xml there or in LIDC-XML-only/; or LIDC-IDRI-0001/*.dcm with "
    "nodules.xml",
    generators=(),
    checked_against="real files (2 patients, small layout)",
    traps=(
        "Eight patients have two CT scans, and some have radiographs too: split by patient.",
        "Four readers marked each scan on their own: one nodule has up to four marks, and their ids do not agree.",
        "An outline runs just outside the nodule; a small nodule (below 3 mm) and a finding that is no nodule are "
        "single points.",
        "CT-GAN, M3Dsynth and BTD forged these patients: a training patient may come again in their test sets.",
        "The slices of some scans overlap, or are missing: take positions, not SliceThickness.",
    ),
)


@dataclass(frozen=True, slots=True)
class Outline:
    """What one reader drew on one slice."""

    sop_instance_uid: str
    z_mm: float
    inside: bool
    """False for a hole that is cut out of the nodule."""
    points: tuple[tuple[int, int], ...]
    """(row, column)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One finding of one reader."""

    reader: int
    name: str
    """What this reader called it; other readers use other names."""
    kind: Kind
    outlines: tuple[Outline, ...]
    ratings: tuple[tuple[str, int], ...] = ()
    """Name and value of each characteristic, 1 to 5 or 6; none for small nodules and for what is no nodule."""


@dataclass(frozen=True, slots=True)
class Nodule:
    """One nodule, or other finding, of a volume: the marks of all readers that lie on each other."""

    kind: Kind
    """As most readers who marked it say; the graver kind where they are even."""
    centre_index: tuple[int, int, int]
    """(k, j, i)."""
    centre_mm: tuple[float, float, float]
    """(x, y, z) in LPS."""
    diameter_mm: float
    """Largest extent of the outlines in the slice plane, the mean of the readers; 0 for single points."""
    readers: int
    malignancy: float | None
    """Mean rating, 1 to 5; None where nobody rated it."""


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every DICOM file of every patient, all of them authentic.

    Raises:
        UnreadableError: no folder of a patient, or no DICOM file in them.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """Patients, series, and the marks of each CT series.

    Raises:
        UnreadableError: no folder of a patient, or no DICOM file in them.
    """
    listed = _listed(root)
    folders = sorted({entry.path.parent for entry in listed if entry.modality == "CT"})
    together = layout.first(folder / name for folder in (root, *root.parents[:1]) for name in MARKS)
    bare = [str(folder.relative_to(root)) for folder in folders if not any(folder.glob("*.xml"))]
    missing = []
    if bare and together is None:
        missing.append(f"the nodule marks of {layout.named(bare)}: fetch LIDC-XML-only.zip of the collection")
    patients = len({entry.patient for entry in listed})
    short = [f"{patients:,} of 1,010 patients"] if patients < 1010 else []
    small = any(entry.series == "" for entry in listed)
    return Findings.of(listed, "small (nodules.xml)" if small else "TCIA", missing, short=short)


def marks_of(folder: Path, series_uid: str | None, root: Path | None = None) -> tuple[Mark, ...]:
    """The marks of one series: of the XML file in its folder, or below ``root``, that states its UID.

    Args:
        folder: of the series.
        series_uid: of the series; None takes the only XML file of the folder.
        root: where to look besides, for the layout with all XML files together.

    Raises:
        UnreadableError: no such file, or a damaged one.
    """
    nearby = sorted(folder.glob("*.xml"))
    if series_uid is None and len(nearby) == 1:
        return marks(nearby[0])
    elsewhere = [] if root is None else [path for name in MARKS for path in sorted(root.glob(f"{name}/**/*.xml"))]
    for path in (*nearby, *elsewhere):
        tree = _parse(path)
        if series_uid is not None and _text(tree, "SeriesInstanceUid") == series_uid:
            return tuple(_marks(tree, path))
    looked = [str(folder / "*.xml")] + ([] if root is None else [str(root / name) for name in MARKS])
    raise UnreadableError(
        f"no nodule marks of series {series_uid}: looked for {', '.join(looked)}",
        hint="fetch LIDC-XML-only.zip of the collection",
    )


def marks(path: Path) -> tuple[Mark, ...]:
    """All marks of all readers in one XML file, in its order.

    Raises:
        UnreadableError: it cannot be read, is no such file, or carries a document type definition.
    """
    return tuple(_marks(_parse(path), path))


def nodules(found: Sequence[Mark], volume: Volume) -> tuple[Nodule, ...]:
    """Where the marks lie in a volume, those of different readers joined where they overlap.

    Two marks mean one nodule where their centres are nearer to each other than half the larger diameter, or than
    3 mm for points. The order is that of the slices.

    Args:
        found: of the series that the volume was decoded from, see `marks`.
        volume: (D, H, W) with positions.

    Raises:
        InputError: a mark lies on a slice that the volume has not.
    """
    placed = [_place(mark, volume) for mark in found]
    groups: list[list[_Placed]] = []
    for one in sorted(placed, key=lambda one: (-one.diameter_mm, one.mark.reader, one.mark.name)):
        for group in groups:
            reach = max(group[0].diameter_mm / 2, one.diameter_mm / 2, 3.0)
            if float(np.linalg.norm(group[0].centre_mm - one.centre_mm)) <= reach:
                group.append(one)
                break
        else:
            groups.append([one])
    return tuple(sorted((_joined(group, volume) for group in groups), key=lambda one: one.centre_index))


# --- marks in a volume ---


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    mark: Mark
    centre_mm: NDArray[np.float64]
    diameter_mm: float


def _place(mark: Mark, volume: Volume) -> _Placed:
    """Centre of the box round all outlines, and the largest extent on one slice."""
    slices = {uid: k for k, uid in enumerate(volume.sop_instance_uids) if uid}
    points = [
        (_slice(outline, slices, volume), row, column)
        for outline in mark.outlines
        if outline.inside
        for row, column in outline.points
    ]
    if not points:
        raise InputError(f"{mark.name} of reader {mark.reader} has no outline", hint="fetch the XML file again")
    index = np.array(points, dtype=np.float64)
    middle = (index.min(axis=0) + index.max(axis=0)) / 2
    _, dj, di = volume.spacing_mm
    sides = [np.ptp(index[index[:, 0] == k, 1:], axis=0) * (dj, di) for k in np.unique(index[:, 0])]
    centre = np.array(volume.position_mm((middle[0], middle[1], middle[2])))
    return _Placed(mark, centre, max(float(side.max()) for side in sides))


def _slice(outline: Outline, slices: dict[str, int], volume: Volume) -> int:
    """Index of the slice of an outline: by its UID, else by its position."""
    if outline.sop_instance_uid in slices:
        return slices[outline.sop_instance_uid]
    heights = np.array([volume.position_mm((k, 0, 0))[2] for k in range(volume.shape[0])])
    nearest = int(np.argmin(np.abs(heights - outline.z_mm)))
    if abs(heights[nearest] - outline.z_mm) > SAME_Z_MM:
        raise InputError(
            f"a mark lies at z = {outline.z_mm} mm, where the volume has no slice",
            hint="take the XML file of this series, and all of its slices",
        )
    return nearest


def _joined(group: Sequence[_Placed], volume: Volume) -> Nodule:
    x, y, z = (float(value) for value in np.mean([one.centre_mm for one in group], axis=0))
    index = np.linalg.solve(volume.affine, np.array([x, y, z, 1.0]))[:3]
    inside = np.clip(np.rint(index), 0, np.array(volume.shape) - 1)
    k, j, i = (int(value) for value in inside)
    kinds: tuple[Kind, ...] = ("nodule", "small nodule", "no nodule")
    votes = [one.mark.kind for one in group]
    rated = [value for one in group for name, value in one.mark.ratings if name == "malignancy"]
    return Nodule(
        max(kinds, key=votes.count),
        (k, j, i),
        (x, y, z),
        round(float(np.mean([one.diameter_mm for one in group])), 3),
        len({one.mark.reader for one in group}),
        float(np.mean(rated)) if rated else None,
    )


# --- XML ---


def _parse(path: Path) -> ElementTree.Element:
    hint = "fetch LIDC-XML-only.zip of the collection again"
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            raise UnreadableError(f"{path} has more than {MAX_XML_BYTES} bytes", hint=hint)
        text = path.read_text(encoding="utf-8-sig")
        # Entities can grow without bound, and none of these files declares any.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise UnreadableError(f"{path} carries a document type definition", hint=hint)
        tree = ElementTree.fromstring(text)  # noqa: S314  # no definition, no entities
    except (OSError, ValueError, ElementTree.ParseError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"cannot read {path}: {reason}", hint=hint) from error
    if _tag(tree) != "LidcReadMessage":
        raise UnreadableError(f"{path} holds {_tag(tree)}, not the marks of a CT scan", hint=hint)
    return tree


def _tag(element: ElementTree.Element) -> str:
    """Without the namespace, which differs between releases."""
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (child for child in element if _tag(child) == tag)


def _text(element: ElementTree.Element, tag: str) -> str:
    """Text of the first descendant of this name, or empty."""
    return next(((one.text or "").strip() for one in element.iter() if _tag(one) == tag), "")


def _marks(tree: ElementTree.Element, path: Path) -> Iterator[Mark]:
    try:
        for reader, session in enumerate(_children(tree, "readingSession")):
            for element in _children(session, "unblindedReadNodule"):
                yield _nodule(reader, element)
            for element in _children(session, "nonNodule"):
                points = tuple(_point(locus) for locus in _children(element, "locus"))
                outline = Outline(_text(element, "imageSOP_UID"), _z(element), True, points)
                yield Mark(reader, _text(element, "nonNoduleID"), "no nodule", (outline,))
    except ValueError as error:
        raise UnreadableError(f"cannot read {path}: {error}", hint="fetch the XML file again") from error


def _nodule(reader: int, element: ElementTree.Element) -> Mark:
    outlines = tuple(
        Outline(
            _text(roi, "imageSOP_UID"),
            _z(roi),
            _text(roi, "inclusion").upper() != "FALSE",
            tuple(_point(edge) for edge in _children(roi, "edgeMap")),
        )
        for roi in _children(element, "roi")
    )
    ratings = tuple(
        (name, int(_text(group, name)))
        for group in _children(element, "characteristics")
        for name in RATINGS
        if _text(group, name)
    )
    # Below 3 mm a reader marks one point and rates nothing (Armato et al. 2011, section II.B).
    single = sum(len(outline.points) for outline in outlines) <= 1
    return Mark(reader, _text(element, "noduleID"), "small nodule" if single else "nodule", outlines, ratings)


def _point(element: ElementTree.Element) -> tuple[int, int]:
    return int(_text(element, "yCoord")), int(_text(element, "xCoord"))


def _z(element: ElementTree.Element) -> float:
    return float(_text(element, "imageZposition"))


# --- files ---


def _listed(root: Path) -> list[Entry]:
    """The files without their digests; the first of each folder says modality and scanner."""
    patients = [folder for base in BASES for folder in sorted((root / base).glob(PATIENT)) if folder.is_dir()]
    found, headers = [], dict[Path, tuple[str, str]]()
    for folder in patients:
        for path in sorted(folder.rglob("*.dcm")):
            if path.parent not in headers:
                headers[path.parent] = layout.scanner(path)
            modality, scanner = headers[path.parent]
            series = path.parent.relative_to(folder).as_posix()
            found.append(
                Entry(
                    path,
                    "lidc-idri",
                    folder.name,
                    "" if series == "." else series,
                    "",
                    modality=modality,
                    scanner=scanner,
                )
            )
    if not found:
        looked = [f"{base}/{PATIENT}/**/*.dcm".lstrip("/") for base in BASES]
        raise layout.absent(FACTS.title, root, looked, "give the folder that holds LIDC-IDRI-0001 and the others")
    return found
