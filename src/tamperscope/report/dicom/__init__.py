"""The answer as DICOM objects: same study, a new series a kind, made with highdicom (the extra ``[dicom]``).

    kind          object                                             when
    sr            Comprehensive 3D SR, TID 1500                      always
    seg           Segmentation, BINARY, a segment a region           there are regions
    capture       Secondary Capture, RGB                             always
    keys          Key Object Selection, "Of Interest"                there is a slice to look at
    heatmap       Parametric Map; fractional SEG without a place     a slice shows something
    presentation  Grayscale Softcopy Presentation State              there is a slice to look at, in grey

Importing this package does not import highdicom; `render` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmwrite
from pydicom.dataset import Dataset

from tamperscope.errors import LimitError, MissingExtraError, TamperscopeError, UnsupportedError, UsageError
from tamperscope.limits import DEFAULT_LIMITS, Limits
from tamperscope.records import Series, SeriesResult, Volume
from tamperscope.report.files import save
from tamperscope.weights import Card

if TYPE_CHECKING:
    from .identity import Case

__all__ = [
    "DEFAULT_KINDS",
    "KINDS",
    "LEFT_OUT",
    "SOP_CLASSES",
    "Objects",
    "check",
    "encoded",
    "render",
    "write",
]

KINDS: tuple[str, ...] = ("sr", "seg", "capture", "keys", "heatmap", "presentation")
DEFAULT_KINDS: tuple[str, ...] = ("sr", "seg", "capture", "keys")
"""What archives and viewers take best."""
SOP_CLASSES: Mapping[str, tuple[str, ...]] = {
    "sr": ("1.2.840.10008.5.1.4.1.1.88.34",),
    "seg": ("1.2.840.10008.5.1.4.1.1.66.4",),
    "capture": ("1.2.840.10008.5.1.4.1.1.7",),
    "keys": ("1.2.840.10008.5.1.4.1.1.88.59",),
    "heatmap": ("1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.66.4"),
    "presentation": ("1.2.840.10008.5.1.4.1.1.11.1",),
}
"""What a receiver must take to get a kind (PS3.4 B.5); a heat map is one of two."""
SUFFIX = ".dcm"
LEFT_OUT = "DICOM objects left out"
"""How a finding begins that says which objects could not be made, and why."""


class Objects(dict[str, Dataset]):
    """Result objects by kind; ``findings`` says in plain sentences which could not be made, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.findings: tuple[str, ...] = ()


def check(kinds: Collection[str]) -> None:
    """See that these kinds can be made at all, before a long scan begins.

    Raises:
        UsageError: no such kind.
        MissingExtraError: highdicom is not installed.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        what = f"unknown kind of DICOM object {unknown[0]!r}" if unknown else "no kind of DICOM object is asked for"
        raise UsageError(what, hint=f"choose from {', '.join(KINDS)}")
    with _quiet():
        try:
            import highdicom  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("highdicom", "dicom") from error


def render(
    series: Series,
    volume: Volume,
    result: SeriesResult,
    models: Sequence[Card],
    kinds: Iterable[str] = DEFAULT_KINDS,
    limits: Limits = DEFAULT_LIMITS,
    *,
    when: datetime,
) -> Objects:
    """Make the result objects of one series.

    Args:
        series: as `study.read` gave it; its headers are read again.
        volume: the pixels that were scanned.
        result: what was found in them; heat map and masks lie on the same grid.
        models: those that took part, the deciding one first.
        kinds: which of `KINDS` to make.
        limits: what a file of the source may ask for.
        when: what the objects say of their making. The same input, models, operating point and ``when`` give the same
            bytes; UIDs do not depend on ``when``.

    Returns:
        Objects by kind. A kind that has nothing to show is absent; so is one that this series does not allow, which
        ``findings`` then names.

    Raises:
        UsageError: no such kind.
        MissingExtraError: highdicom is not installed.
        UnsupportedError: the series is not DICOM, or lacks UIDs that a reference to it needs.
        InputError: its files cannot be read again.
    """
    wanted = set(kinds)
    check(wanted)
    if series.format != "dicom":
        raise UnsupportedError(
            f"{series.instances[0].source}: not DICOM, so no DICOM objects can refer to it",
            hint="the other reports hold the answer",
        )
    from . import identity, sources

    with _quiet():
        case = identity.Case(sources.read(series, volume, limits), volume, result, tuple(models), when)
        return _made(case, wanted)


def _made(case: Case, wanted: set[str]) -> Objects:
    from . import capture, heatmap, keys, presentation, seg, sr

    objects = Objects()
    makers: Mapping[str, Callable[[], Dataset | None]] = {
        "seg": lambda: seg.render(case),
        "sr": lambda: sr.render(case, objects.get("seg")),
        "capture": lambda: capture.render(case),
        "keys": lambda: keys.render(case),
        "heatmap": lambda: heatmap.render(case),
        "presentation": lambda: presentation.render(case),
    }
    for kind, maker in makers.items():
        if kind not in wanted:
            continue
        try:
            made = maker()
        except MemoryError as error:
            raise LimitError("not enough memory for the DICOM objects", hint="ask for fewer kinds") from error
        # highdicom raises what its checks come upon, of every type: a series it does not take loses one kind.
        except Exception as error:
            why = error.message if isinstance(error, TamperscopeError) else type(error).__name__
            objects.findings += (f"{LEFT_OUT}: {kind} ({why})",)
            continue
        if made is not None:
            objects[kind] = made
    return objects


def write(objects: Mapping[str, Dataset], folder: Path, name: str) -> list[Path]:
    """Write each object to ``NAME.KIND.dcm`` in ``folder``, whole or not at all.

    Raises:
        UsageError: the folder cannot be made or a file cannot be written.
    """
    paths = []
    for kind, dataset in objects.items():
        paths.append(folder / f"{name}.{kind}{SUFFIX}")
        save(paths[-1], encoded(dataset))
    return paths


def encoded(dataset: Dataset) -> bytes:
    """An object as the bytes of its file (PS3.10)."""
    stream = BytesIO()
    with _quiet():
        dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the libraries, which quote the values that they complain of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
