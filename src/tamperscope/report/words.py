"""The plain words that the pictures and the page share, and text made safe to write."""

from __future__ import annotations

import math
import unicodedata

from tamperscope.records import Finding, OperatingPoint, Origin, SeriesResult, Severity

DISCLAIMER = "Research use only, not for diagnosis"
CHANGED = "CHANGED SINCE IT WAS SIGNED"
"""What outranks every score."""
ORIGINS: dict[Origin, str] = {
    "broken": "Broken",
    "contradictory": "Contradictory",
    "verified": "Verified",
    "absent": "Absent",
}
"""The states of provenance, as the formats call them."""
ORIGIN_MEANINGS: dict[Origin, str] = {
    "broken": (
        "A signature does not match the content: something was changed after it was signed. This outranks whatever the "
        "pixels show."
    ),
    "contradictory": (
        "Statements in the files contradict each other. Archives, converters and de-identification cause that too: "
        "look at what was found before you conclude."
    ),
    "verified": (
        "Every file is signed by somebody whom you trust, and is unchanged since. What was done before it was signed, "
        "a signature cannot tell."
    ),
    "absent": (
        "Nothing vouches for where these files come from. This is so of most medical images and is no sign of guilt."
    ),
}
SEVERITIES: dict[Severity, str] = {"alarm": "Alarm", "warning": "Warning", "note": "Note"}
NO_PROOF = "Absence of evidence is not proof that the images are authentic."


def clean(text: str) -> str:
    r"""Text that any encoder takes: file names that are not UTF-8 show their odd bytes as ``\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """Clean text without characters that act instead of showing: controls, bidirectional overrides, zero widths."""
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf") else c for c in clean(" ".join(text.splitlines())))


def headline(result: SeriesResult) -> str:
    """The verdict as a sentence; a broken signature comes first."""
    pixels = _headline(result)
    return f"{CHANGED}: a signature does not match. Pixels: {pixels}" if result.broken else pixels


def _headline(result: SeriesResult) -> str:
    if result.verdict == "no_evidence":
        return "No evidence of tampering found"
    if result.verdict == "inconclusive":
        reason = result.reasons[0].rstrip(". ") if result.reasons else "no detector could judge this series"
        return f"Inconclusive: {reason}"
    places = len(result.regions)
    if not places:
        return "SUSPICIOUS: signs of tampering found, place unknown"
    return "SUSPICIOUS: altered place found" if places == 1 else f"SUSPICIOUS: {places} altered places found"


def probability(value: float | None) -> str:
    """Two digits, but never a 0 or 1 that rounding made."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if 0 < value < 0.01:
        return "< 0.01"
    return "> 0.99" if 0.99 < value < 1 else f"{value:.2f}"


def false_alarms(point: OperatingPoint | None) -> str:
    """Both error rates in words: false alarms, and what is missed in exchange."""
    if point is None:
        return "no operating point: no calibrated detector took part"
    if not point.false_positive_rate > 0:
        return "set to no false alarm in the authentic series it was tuned on"
    every = 1 / point.false_positive_rate
    about = "" if abs(every - round(every)) < 1e-6 * every else "about "
    alarms = f"set to {about}1 false alarm in {round(every)} authentic series"
    return alarms if point.miss_rate is None else f"{alarms}; misses {point.miss_rate:.0%} of simulated forgeries"


def meaning(result: SeriesResult) -> str:
    """What the probability says at the operating point."""
    point = result.operating_point
    if result.probability is None or point is None:
        return f"No calibrated detector took part, so no probability is stated. {NO_PROOF}"
    side = "reaches" if result.probability >= point.threshold else "stays below"
    text = (
        f"The calibrated probability of tampering, {probability(result.probability)}, {side} the threshold of "
        f"{probability(point.threshold)}, {false_alarms(point)}."
    )
    if result.verdict == "suspicious":
        return f"{text} An authentic series can be such a false alarm: look at the place before you conclude."
    return f"{text} {NO_PROOF}"


def origin(result: SeriesResult) -> str:
    """Where the series comes from, in words: that nothing is known is said as well, and that it means nothing."""
    return ORIGIN_MEANINGS[result.provenance.state]


def weighty(result: SeriesResult) -> tuple[Finding, ...]:
    """The findings of provenance that are more than notes."""
    return tuple(finding for finding in result.provenance.findings if finding.severity != "note")


def millimetres(result: SeriesResult) -> str:
    """The voxel size, in-plane first."""
    if result.spacing_mm is None:
        return "voxel size unknown"
    k, j, i = (f"{v:.3g}" for v in result.spacing_mm)
    return f"{j} × {i} mm" if result.shape[0] == 1 else f"{j} × {i} × {k} mm"
