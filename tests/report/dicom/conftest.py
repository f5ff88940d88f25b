"""Small studies of every modality, read and decoded, with a result made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

import studies
from tamperscope import study, weights
from tamperscope.decode import decode
from tamperscope.records import OperatingPoint, Provenance, Region, Series, SeriesResult, Volume
from tamperscope.report import dicom as objects

pytest.importorskip("highdicom")

MODALITIES = ("CT", "MR", "CR", "DX", "MG", "US", "US colour", "SC", "enhanced CT")
WHEN = datetime(2024, 5, 6, 7, 8, 9)
CARD = weights.packaged()[0]
ROWS, COLUMNS, DEPTH = 40, 48, 5
SHUFFLED = (3, 0, 4, 1, 2)
"""Place of each frame of the enhanced series in the stack."""


def sources(kind: str, **values) -> list[Dataset]:
    """Objects of a kind, five slices or frames where it has several; ``values`` go into each header."""
    stored = studies.stored
    if kind in ("CT", "MR"):
        dtype = "<i2" if kind == "CT" else "<u2"
        planes = [stored((ROWS, COLUMNS), 0, 2000, dtype, k) for k in range(DEPTH)]
        return [studies.image(kind, plane, k, **values) for k, plane in enumerate(planes)]
    if kind.startswith("US"):
        colour = (3,) if kind == "US colour" else ()
        return [studies.image("US", stored((DEPTH, ROWS, COLUMNS, *colour), 0, 255, "u1"), **values)]
    if kind == "enhanced CT":
        image = studies.image(kind, stored((DEPTH, ROWS, COLUMNS), 0, 2000), **values)
        for place, group in zip(SHUFFLED, image.PerFrameFunctionalGroupsSequence, strict=True):
            group.PlanePositionSequence[0].ImagePositionPatient = [-5.0, -6.0, 2.5 * place]
        return [image]
    dtype, high = ("u1", 255) if kind == "SC" else ("<u2", 4095)
    return [studies.image(kind, stored((ROWS, COLUMNS), 0, high, dtype), **values)]


@dataclass(frozen=True)
class Scanned:
    """A series with its pixels and its result."""

    folder: Path
    series: Series
    volume: Volume
    result: SeriesResult

    def render(self, *kinds: str, models=(CARD,), when: datetime = WHEN, **changes) -> objects.Objects:
        result = replace(self.result, **changes)
        return objects.render(self.series, self.volume, result, models, kinds or objects.KINDS, when=when)


def judged(volume: Volume) -> SeriesResult:
    """Suspicious: one ragged region through slices, one box without a mask in the last."""
    last = volume.shape[0] - 1
    first = min(1, last)
    mask = np.random.default_rng(1).random((min(3, last + 1), 8, 9)) > 0.4
    mask[0, 0, 0] = True
    known, sized = volume.geometry == "patient", volume.geometry != "none"
    ragged = Region(
        (first, 14, 15),
        volume.position_mm((first, 14, 15)) if known else None,
        ((first, 10, 11), (first + len(mask) - 1, 17, 19)),
        7.25 if sized else None,
        0.97,
        mask,
    )
    box = Region((last, 30, 30), None, ((last, 28, 27), (last, 32, 33)), None, 0.8)
    heat = np.zeros(volume.shape, dtype=np.float32)
    heat[first : first + len(mask), 10:18, 11:20] = mask * 0.97
    heat[last, 28:33, 27:34] = 0.8
    return SeriesResult(
        series_uid=volume.series_uid,
        modality=volume.modality,
        files=tuple(dict.fromkeys(volume.sources)),
        shape=volume.shape,
        spacing_mm=volume.spacing_mm if sized else None,
        verdict="suspicious",
        probability=0.97,
        operating_point=OperatingPoint(0.01, 0.6, 0.25),
        slices=(),
        regions=(ragged, box),
        evidence=(),
        provenance=Provenance("absent"),
        reasons=("2 places differ – ungewöhnlich",),
        heatmap=heat,
        digest=volume.digest,
        name="series",
    )


@pytest.fixture
def scanned(tmp_path) -> Callable[[list[Dataset]], Scanned]:
    """Write data sets, read them back as a scan does, and judge them."""

    def make(datasets: list[Dataset], name: str = "in") -> Scanned:
        folder = studies.write(datasets, tmp_path / name)
        reading = study.read(folder)
        assert not reading.failed
        series = reading.studies[0].series[0]
        volume = decode(series)
        return Scanned(folder, series, volume, judged(volume))

    return make


@pytest.fixture(scope="module", params=MODALITIES)
def case(request, tmp_path_factory) -> Scanned:
    """A series of each modality; "CT" and so on in its folder's name."""
    folder = studies.write(sources(request.param), tmp_path_factory.mktemp("case") / request.param)
    series = study.read(folder).studies[0].series[0]
    volume = decode(series)
    return Scanned(folder, series, volume, judged(volume))


@pytest.fixture
def make() -> Callable[..., list[Dataset]]:
    """Data sets by the name of their kind."""
    return sources
