"""Public data sets as they lie on disk, one per file; splits by patient, and the search for leaks in them.

`dataset.Dataset` is what each reader obeys; `manifest.Entry` is what each of them lists.
"""

from __future__ import annotations

from tamperscope.datasets import (
    btd,
    ct_authentic,
    ct_gan,
    folders,
    knee_severity,
    knee_synthetic,
    lidc,
    m3dsynth,
    medforge,
    table,
)
from tamperscope.datasets.dataset import Dataset

__all__ = ["readers"]


def readers() -> dict[str, Dataset]:
    """All data sets by name."""
    found: list[Dataset] = [
        ct_gan,
        m3dsynth,
        btd,
        lidc,
        ct_authentic,
        medforge,
        knee_severity,
        knee_synthetic,
        folders,
        table,
    ]
    return {one.FACTS.name: one for one in found}
