"""Which model judges for a node or a service, and how strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tamperscope import detectors
from tamperscope.verdict import Policy
from tamperscope.weights import Card


class ScanSettings(TypedDict):
    """Arguments of `tamperscope.scan`."""

    policy: Policy
    cards: tuple[Card, ...] | None
    threads: int | None
    trust: tuple[Path, ...] | None


@dataclass(frozen=True, slots=True)
class Model:
    """Which model judges, and how often it may be wrong about an authentic series."""

    name: str = ""
    """One of `tamperscope models`; those that look at everything if empty."""
    false_alarms: float = field(default=0.01, metadata={"least": 1e-4, "most": 0.1})
    workers: int = field(default=1, metadata={"least": 1})
    """Processes that judge."""
    threads: int = field(default=0, metadata={"least": 0})
    """Of each network; 0 for all cores."""
    trust: tuple[Path, ...] = ()
    """PEM certificates, or folders of them, whose signatures vouch for a file."""

    def settings(self) -> ScanSettings:
        """What it means for a scan.

        Raises:
            UsageError: no model is called so.
        """
        cards = (detectors.chosen_card(self.name),) if self.name else None
        threads, trust = self.threads or None, self.trust or None
        return {"policy": Policy.at(self.false_alarms), "cards": cards, "threads": threads, "trust": trust}
