"""Authentic chest CT from public collections, laid out as ``collection/patient[/series]/*.dcm``.

That is how tools download LIDC-IDRI, Lung-PET-CT-Dx, LungCT-Diagnosis, TCGA-LUAD and TCGA-LUSC from The Cancer
Imaging Archive. The folder below each collection is the patient. Checked against real files of all five.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tamperscope import study
from tamperscope.datasets import layout
from tamperscope.datasets.dataset import Facts, Findings
from tamperscope.datasets.manifest import Entry, Tick, digested
from tamperscope.decode import decode
from tamperscope.errors import InputError, UnreadableError
from tamperscope.records import Volume

LEAST_SLICES = 8
"""Fewer are a pick of single slices far apart, not a volume."""
WHOLE = "whole"
"""What a volume is called that lies in the folder of its patient itself, without a folder of the series."""

FACTS = Facts(
    name="ct-authentic",
    title="Authentic chest CT of public collections",
    source="The Cancer Imaging Archive (cancerimagingarchive.net): LIDC-IDRI, Lung-PET-CT-Dx, LungCT-Diagnosis, "
    "TCGA-LUAD, TCGA-LUSC",
    licence="CC BY 3.0, CC BY 4.0",
    modality="CT",
    patients="as fetched",
    patient_key="the folder below the collection",
    layout="collection/patient[/series]/*.dcm",
    generators=(),
    checked_against="real files (5 collections)",
    traps=(
        "One patient in a sharp and a soft kernel looks like two: split by patient, never by series.",
        "LIDC-IDRI is also what CT-GAN, M3Dsynth and BTD forged: a detector that trained on a patient here may meet "
        "that patient again in their test sets.",
        "Single slices of many scanners have no neighbours: nothing can be said along z.",
    ),
)


def entries(root: Path, tick: Tick | None = None) -> tuple[Entry, ...]:
    """Every DICOM file below ``root`` with its collection, patient and digest, in order of the paths.

    Raises:
        UnreadableError: there is none.
        InputError: two collections hold a patient of the same name.
    """
    return digested(_listed(root), tick)


def check(root: Path) -> Findings:
    """What lies below ``root``; as much as was fetched is complete.

    Raises:
        UnreadableError: there is no ``collection/patient/*.dcm``.
        InputError: two collections hold a patient of the same name.
    """
    listed = _listed(root)
    count: dict[tuple[str, str], int] = {}
    for entry in listed:
        count[entry.patient, entry.series] = count.get((entry.patient, entry.series), 0) + 1
    picks = sorted(patient for (patient, _), number in count.items() if number < LEAST_SLICES)
    notes = [f"single slices only: {layout.named(picks)}"] if picks else []
    return Findings.of(listed, FACTS.layout, notes=notes)


def volumes(chosen: Sequence[Entry], *, least_slices: int = LEAST_SLICES) -> Iterator[tuple[str, Volume]]:
    """(patient, volume) of each series of the chosen files.

    A series of fewer than ``least_slices`` is a pick of single slices far apart: each becomes a volume of its own.

    Raises:
        InputError: a file cannot be read or decoded.
    """
    for patient in dict.fromkeys(entry.patient for entry in chosen):
        reading = study.read([entry.path for entry in chosen if entry.patient == patient])
        if reading.failed:
            failure = reading.failed[0]
            raise UnreadableError(f"{failure.source}: {failure.error}", hint=failure.hint)
        for series in (series for one in reading.studies for series in one.series):
            volume = decode(series)
            if volume.shape[0] >= least_slices:
                yield patient, volume
            else:
                yield from ((patient, volume.slab(k, k + 1)) for k in range(volume.shape[0]))


def _listed(root: Path) -> list[Entry]:
    """The files without their digests; the first of each folder says modality and scanner."""
    found, headers, collections = [], dict[Path, tuple[str, str]](), dict[str, str]()
    for path in sorted(root.glob("*/*/**/*.dcm")):
        collection, patient, *below = path.relative_to(root).parts
        other = collections.setdefault(patient, collection)
        if other != collection:
            raise InputError(
                f"{root}: {other} and {collection} both hold a patient {patient}",
                hint="rename one of the two folders; if it is one person, put both into one collection",
            )
        if path.parent not in headers:
            headers[path.parent] = layout.scanner(path)
        modality, scanner = headers[path.parent]
        found.append(Entry(path, collection, patient, "/".join(below[:-1]), "", modality=modality, scanner=scanner))
    if not found:
        raise UnreadableError(f"no collection/patient/*.dcm below {root}", hint="give the folder of the collections")
    count = Counter((entry.patient, entry.series) for entry in found)
    whole = {patient for (patient, series), number in count.items() if not series and number >= LEAST_SLICES}
    return [replace(entry, series=entry.series or (WHOLE if entry.patient in whole else "")) for entry in found]
