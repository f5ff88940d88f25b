"""Authentic chest CT from public collections, laid out as ``collection/patient[/series]/*.dcm``.

That is how tools download LIDC-IDRI, Lung-PET-CT-Dx, LungCT-Diagnosis, TCGA-LUAD and TCGA-LUSC from The Cancer
Imaging Archive. The folder below each collection is the patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tamperscope import study
from tamperscope.datasets.manifest import Entry, file_digest
from tamperscope.decode import decode
from tamperscope.errors import UnreadableError
from tamperscope.records import Volume


def entries(root: Path) -> tuple[Entry, ...]:
    """Every DICOM file below ``root`` with its collection, patient and digest, in order of the paths.

    Raises:
        UnreadableError: there is none.
    """
    found = []
    for path in sorted(root.glob("*/*/**/*.dcm")):
        collection, patient, *below = path.relative_to(root).parts
        found.append(Entry(path, collection, patient, "/".join(below[:-1]), file_digest(path)))
    if not found:
        raise UnreadableError(f"no collection/patient/*.dcm below {root}", hint="give the folder of the collections")
    return tuple(found)


def volumes(chosen: Sequence[Entry], *, least_slices: int = 8) -> Iterator[tuple[str, Volume]]:
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
