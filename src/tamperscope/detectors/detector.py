"""What a detector is."""

from __future__ import annotations

from typing import Protocol

from tamperscope.records import Evidence, Volume


class Detector(Protocol):
    """Finds one kind of evidence in a volume.

    The same volume gives the same evidence; the volume is not changed; a volume that the detector is not made for
    gives evidence without a score and with the reason, not an exception.
    """

    @property
    def name(self) -> str:
        """Which detector this is, in the report."""
        ...

    def detect(self, volume: Volume) -> Evidence:
        """Raw score, higher is more suspicious, and a raw heat map (D, H, W) on the volume's grid, or none."""
        ...
