"""Provenance: what the files of a series say of where they come from, and whether that holds.

A separate axis of the verdict, never part of the score. One kind of check per file; each yields findings with the
clause that they rest on. No check stops a scan: one that cannot be carried out says so in a note.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from tamperscope.detectors.provenance import (
    clones,
    contents,
    editors,
    header,
    instances,
    jpeg,
    kernels,
    pixels,
    preamble,
    seen,
    signatures,
    trust,
)
from tamperscope.detectors.provenance.clones import Kin
from tamperscope.detectors.provenance.opened import Opened, opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.detectors.provenance.trust import NOBODY, Trust
from tamperscope.errors import InputError
from tamperscope.limits import DEFAULT_LIMITS, Limits
from tamperscope.records import Origin, Provenance, Series, Volume
from tamperscope.study import payloads

__all__ = ["NOBODY", "Kin", "Trust", "contents", "examine", "trust"]

CLAUSE = "PS3.10 7"
SAMPLED = 5
"""Files of a series, spread over it, of which coefficients and histograms are looked at: all slices share a history."""


def examine(
    series: Series,
    volume: Volume,
    limits: Limits = DEFAULT_LIMITS,
    trusted: Trust = NOBODY,
    kin: Sequence[Series] = (),
) -> Provenance:
    """Everything that is known of the origin of a series.

    Args:
        series: as `study.read` gave it; each of its files is read once more.
        volume: its pixels.
        limits: what a file may ask for.
        trusted: whose signatures count as vouching for a file.
        kin: other series of the same reading that claim what this one claims, see `Kin`.

    Returns:
        The state, in this order: "broken" where something was changed since it was signed, "contradictory" where
        statements cannot both be true, "verified" where every file is signed by whom the caller trusts, else
        "absent"; and the findings, gravest first.
    """
    every = tuple(dict.fromkeys(instance.source for instance in series.instances))
    # Headers in the wild make pydicom and Pillow warn; the warnings quote the values.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(_of_files(series, every, limits, trusted))
        found += _guarded("pixels", lambda: pixels.of_volume(volume))
        found += _guarded("kernels", lambda: kernels.of_volume(volume))
        found += _guarded("jpeg", lambda: jpeg.of_volume(volume))
        found += _guarded("clones", lambda: clones.check(series, kin, limits))
    joined = seen.merged(found, every)
    return Provenance(_state(joined), tuple(one.finding for one in joined))


def _state(joined: tuple[Seen, ...]) -> Origin:
    states = {one.state for one in joined}
    # One slice that is vouched for says nothing of the next: only a finding of all files verifies the series.
    if "verified" in states and not any(one.state == "verified" and not one.finding.files for one in joined):
        states.discard("verified")
    order: tuple[Origin, ...] = ("broken", "contradictory", "verified")
    return next((state for state in order if state in states), "absent")


def _of_files(series: Series, every: tuple[str, ...], limits: Limits, trusted: Trust) -> Iterator[Seen]:
    facts: list[instances.Facts] = []
    signed: list[str] = []
    looked_at = _spread(len(series.instances))
    try:
        for index, data in enumerate(payloads(series.instances, limits)):
            source = series.instances[index].source
            try:
                one = opened(data, source, series.format, limits)
                if one.parsed is not None:
                    facts += [instances.facts(one)]
                    signed += [source] if signatures.is_signed(one.parsed) else []
            except InputError as error:
                # A damaged slice is listed by the scan; the others are looked at all the same.
                yield _unread(error, source)
                continue
            yield from _of_file(one, limits, trusted, thorough=index in looked_at)
    except InputError as error:
        yield _unread(error)
    yield from _guarded("instances", lambda: instances.check(facts))
    yield from _guarded("signature-lost", lambda: signatures.lost(signed, every))


def _unread(error: InputError, *files: str) -> Seen:
    text = f"Not everything could be read again, so it was not looked at: {error.message}."
    return seen.note("unread", text, CLAUSE, *files)


def _of_file(one: Opened, limits: Limits, trusted: Trust, *, thorough: bool) -> Iterator[Seen]:
    checks: dict[str, Callable[[], Iterable[Seen]]] = {
        "signature": lambda: signatures.check(one, trusted),
        "preamble": lambda: preamble.check(one),
        "header": lambda: header.check(one),
        "editors": lambda: editors.check(one),
        "contents": lambda: contents.check(one, trusted),
        "bits": lambda: pixels.of_file(one),
    }
    if thorough:
        checks["jpeg"] = lambda: jpeg.check(one, limits)
    for name, check in checks.items():
        yield from _guarded(name, check)


def _guarded(name: str, check: Callable[[], Iterable[Seen]]) -> list[Seen]:
    """What a check saw, or a note that it could not be carried out: pydicom raises every type on wild headers."""
    found: list[Seen] = []
    try:
        # One by one: what was seen before a check stumbles, an alarm say, is kept.
        for one in check():
            found.append(one)  # noqa: PERF402
    except MemoryError:
        found.append(seen.note("unchecked", f"The check {name} needs more memory than there is.", CLAUSE))
    except Exception as error:
        text = f"The check {name} could not be carried out to its end on a file ({type(error).__name__})."
        # A signature that nobody can check any more is worth a look; a forger may have seen to it.
        found.append((seen.warning if name == "signature" else seen.note)("unchecked", text, CLAUSE))
    return found


def _spread(count: int) -> frozenset[int]:
    """`SAMPLED` of so many files, evenly."""
    if count <= SAMPLED:
        return frozenset(range(count))
    return frozenset(round(step * (count - 1) / (SAMPLED - 1)) for step in range(SAMPLED))
