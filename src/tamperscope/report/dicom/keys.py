"""The slices to look at as a Key Object Selection (PS3.3 A.35.4, TID 2010), titled "Of Interest"."""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset

from tamperscope.records import SeriesResult, Volume
from tamperscope.report import picture, words

from . import codes, content
from .identity import Case

KIND = "keys"


def slices(volume: Volume, result: SeriesResult) -> tuple[int, ...]:
    """The middle of each region, and the strongest slice of an alarming series; none where nothing was found.

    Where it was changed since it was signed: the first slice of each file that was.
    """
    depth = volume.shape[0]
    found = {min(max(region.centre_index[0], 0), depth - 1) for region in result.regions}
    if result.alarming:
        found.add(picture.shown_slice(volume, result))
    changed = {name for one in result.provenance.findings if one.severity == "alarm" for name in one.files}
    found |= {volume.sources.index(name) for name in changed & set(volume.sources)}
    return tuple(sorted(found))


def render(case: Case) -> Dataset | None:
    """The selection; None where there is no slice to look at."""
    chosen = [case.sources.slice_stand_in(k) for k in slices(case.volume, case.result)]
    if not chosen:
        return None
    selection = KeyObjectSelection(
        document_title=codes.OF_INTEREST,
        referenced_objects=chosen,
        observer_device_context=content.device(case),
        description=words.visible(f"{words.headline(case.result)}. {words.DISCLAIMER}."),
    )
    made = KeyObjectSelectionDocument(evidence=chosen, content=selection, **case.made(KIND))
    return case.finish(made, KIND)
