"""Forgeries of the header, one per file; `header_attack.HeaderAttack` is what each of them obeys."""

from __future__ import annotations

from tamperscope.attacks.headers.changed_dates import ChangedDates
from tamperscope.attacks.headers.copied_uids import CopiedUids
from tamperscope.attacks.headers.header_attack import MARK, HeaderAttack
from tamperscope.attacks.headers.removed_lossy_flags import RemovedLossyFlags
from tamperscope.attacks.headers.stripped_uids import StrippedUids
from tamperscope.attacks.headers.swapped_patient import SwappedPatient

__all__ = [
    "MARK",
    "ChangedDates",
    "CopiedUids",
    "HeaderAttack",
    "RemovedLossyFlags",
    "StrippedUids",
    "SwappedPatient",
    "every",
]


def every() -> dict[str, HeaderAttack]:
    """All header attacks by name."""
    attacks: list[HeaderAttack] = [SwappedPatient(), ChangedDates(), StrippedUids(), CopiedUids(), RemovedLossyFlags()]
    return {attack.name: attack for attack in attacks}
