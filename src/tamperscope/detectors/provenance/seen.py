"""One thing that a check of provenance saw, and what it makes of the state of the series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from tamperscope.records import Finding, Origin

Kind: TypeAlias = tuple[str, str, Origin]

SEVERITIES = ("alarm", "warning", "note")
MOST = 12
"""Findings of one check that are told apart; a series of a thousand files must not fill a report."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding, and the state that it stands for: "absent" where it decides nothing."""

    finding: Finding
    state: Origin = "absent"


def note(check: str, text: str, clause: str, *files: str) -> Seen:
    """Said and no more: it occurs in authentic files every day."""
    return Seen(Finding(check, "note", text, clause, files))


def warning(check: str, text: str, clause: str, *files: str) -> Seen:
    """Worth a look, but no contradiction."""
    return Seen(Finding(check, "warning", text, clause, files))


def contradiction(check: str, text: str, clause: str, *files: str) -> Seen:
    """Two statements that cannot both be true."""
    return Seen(Finding(check, "warning", text, clause, files), "contradictory")


def broken(check: str, text: str, clause: str, *files: str) -> Seen:
    """A signature that does not match what it covers."""
    return Seen(Finding(check, "alarm", text, clause, files), "broken")


def verified(check: str, text: str, clause: str, *files: str) -> Seen:
    """A signature that holds, by somebody whom the caller trusts."""
    return Seen(Finding(check, "note", text, clause, files), "verified")


def merged(seen: Iterable[Seen], every: tuple[str, ...]) -> tuple[Seen, ...]:
    """The same thing said of several files as one, gravest first.

    Args:
        seen: in any order; of one finding the files are joined.
        every: the files of the series. Of a finding that holds for all of them none is listed.
    """
    files: dict[Seen, dict[str, None]] = {}
    for one in seen:
        alike = replace(one, finding=replace(one.finding, files=()))
        files.setdefault(alike, {}).update(dict.fromkeys(one.finding.files))
    joined = [
        replace(one, finding=replace(one.finding, files=() if set(named) >= set(every) else tuple(named)))
        for one, named in files.items()
    ]
    return tuple(sorted(_bounded(joined), key=lambda one: SEVERITIES.index(one.finding.severity)))


def _kind(one: Seen) -> Kind:
    return one.finding.check, one.finding.severity, one.state


def _bounded(seen: list[Seen]) -> list[Seen]:
    """At most `MOST` of each check and severity; of the rest is said how many there are."""
    kept: list[Seen] = []
    counts: dict[Kind, int] = {}
    for one in seen:
        kind = _kind(one)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= MOST:
            kept.append(one)
    for kind, count in counts.items():
        if count > MOST:
            last = next(one for one in reversed(kept) if _kind(one) == kind)
            text = f"{count - MOST} more findings of this kind are left out."
            kept.append(Seen(replace(last.finding, text=text, files=()), last.state))
    return kept
