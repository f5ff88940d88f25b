"""All figures of one model on one set of cases, from its outcomes: by series, patient, slice and place, worst first.

A series that the model refused counts as not flagged, with the lowest of all scores: a forger gains by a refusal. How
many there are is stated. Intervals draw whole patients.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope.evaluate import decisions, froc, ranking, reliability
from tamperscope.evaluate.intervals import bootstrap
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.records import JSON

REFUSED = -1.0
"""Score of a refused series: below every probability."""
RATES = (0.01, 0.001)
FEWEST = 5
"""Forged or authentic series below which a group is listed without an AUROC: one case would decide it."""
LOCAL = ("pixel_f1", "iou", "pointing", "pointing_mm", "voxel_ap", "oracle_f1", "box_iou", "region_auroc")
Statistic: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.bool_]], float]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores (N), whether each case is forged (N), and whose it is."""

    scores: NDArray[np.float64]
    forged: NDArray[np.bool_]
    patients: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[float, bool, str]]) -> Scored:
        """From (score, forged, patient) of each case."""
        listed = list(rows)
        return cls(
            np.array([score for score, _, _ in listed], dtype=np.float64),
            np.array([forged for _, forged, _ in listed], dtype=bool),
            tuple(patient for _, _, patient in listed),
        )

    @property
    def sides(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of the forged, and of the authentic ones."""
        return self.scores[self.forged], self.scores[~self.forged]


def summary(
    outcomes: Sequence[Outcome], threshold: float, rng: np.random.Generator, resamples: int = 1000
) -> dict[str, JSON]:
    """Every figure as JSON; NaN becomes null, which reads "not measurable".

    Args:
        outcomes: one a series.
        threshold: probability from which the model calls a series suspicious, fixed before.
        rng: of the resamples.
        resamples: how many patients' draws an interval rests on; 0 for none.
    """
    levels = {"series": by_series(outcomes), "patient": by_patient(outcomes), "slice": by_slice(outcomes)}
    return {
        "cases": counts(outcomes),
        "threshold": threshold,
        **{name: level(scored, threshold, rng, resamples) for name, scored in levels.items()},
        "region": regions(outcomes, threshold, rng, resamples),
        "place": places(outcomes, rng, resamples),
        "froc": marks(outcomes),
        "calibration": calibration(outcomes),
        "groups": groups(outcomes),
    }


def counts(outcomes: Sequence[Outcome]) -> JSON:
    """How many series and patients there are, how many were refused, and what was said of them.

    ``cleared`` is the share of forged series that are called "no evidence": the error that costs most.
    """
    said: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in outcomes:
        said["forged" if one.forged else "authentic"][one.verdict] += 1
    forged = sum(one.forged for one in outcomes)
    return {
        "series": len(outcomes),
        "patients": len({one.patient for one in outcomes}),
        "forged": forged,
        "authentic": sum(not one.forged for one in outcomes),
        "cleared": number(said["forged"].get("no_evidence", 0) / forged) if forged else None,
        "refused": sum(one.score is None for one in outcomes),
        "seconds_a_series": number(float(np.median([one.seconds for one in outcomes])) if outcomes else math.nan),
        "verdicts": {truth: dict(sorted(found.items())) for truth, found in sorted(said.items())},
    }


def by_series(outcomes: Iterable[Outcome]) -> Scored:
    """Every series, the refused ones with the lowest score."""
    return Scored.of((_score(one), one.forged, one.patient) for one in outcomes)


def by_patient(outcomes: Iterable[Outcome]) -> Scored:
    """The highest score of each patient's authentic series, and of their forged ones: a patient may have both."""
    highest: dict[tuple[str, bool], float] = {}
    for one in outcomes:
        key = one.patient, one.forged
        highest[key] = max(highest.get(key, -math.inf), _score(one))
    return Scored.of((score, forged, patient) for (patient, forged), score in highest.items())


def by_slice(outcomes: Iterable[Outcome]) -> Scored:
    """Every slice of answered series whose truth is known."""
    return Scored.of(
        (score, truth, one.patient)
        for one in outcomes
        if one.slice_scores and one.slice_truths
        for score, truth in zip(one.slice_scores, one.slice_truths, strict=True)
    )


def level(scored: Scored, threshold: float, rng: np.random.Generator, resamples: int) -> dict[str, JSON]:
    """Ranking, decisions at the threshold, the interval of both, and calibration of what was answered."""
    forged, authentic = scored.sides
    confusion = decisions.at(forged, authentic, threshold)
    figures: dict[str, tuple[float, Statistic]] = {
        "auroc": (auroc(forged, authentic), lambda s, t: auroc(s[t], s[~t])),
        "auprc": (ranking.auprc(forged, authentic), lambda s, t: ranking.auprc(s[t], s[~t])),
        "recall": (confusion.recall, lambda s, t: float(np.mean(s[t] >= threshold)) if t.any() else math.nan),
        "false_alarm_rate": (
            confusion.false_alarm_rate,
            lambda s, t: float(np.mean(s[~t] >= threshold)) if (~t).any() else math.nan,
        ),
    }
    found: dict[str, JSON] = {"forged": int(forged.size), "authentic": int(authentic.size)}
    for name, (value, statistic) in figures.items():
        found[name] = number(value)
        found[f"{name}_interval"] = interval(scored, statistic, rng, resamples)
    for name, side in (("recall", scored.forged), ("false_alarm_rate", ~scored.forged)):
        found[f"{name}_interval"] = _never_or_always(found[name], found[f"{name}_interval"], scored, side)
    for name in ("accuracy", "precision", "f1", "specificity", "balanced_accuracy"):
        found[name] = number(getattr(confusion, name))
    for rate in RATES:
        found[f"detection_at_{rate:g}"] = number(ranking.detection_rate(forged, authentic, rate))
    stated = scored.scores > REFUSED
    found["ece"] = number(reliability.ece(scored.scores[stated], scored.forged[stated]))
    found["brier"] = number(reliability.brier(scored.scores[stated], scored.forged[stated]))
    return found | {"confusion": dict(asdict(confusion))}


def interval(scored: Scored, statistic: Statistic, rng: np.random.Generator, resamples: int) -> JSON:
    """[low, high] that hold 95 %, whole patients drawn; None where it cannot be said."""
    if resamples == 0 or len(set(scored.patients)) < 2:
        return None

    def drawn(rows: NDArray[np.intp]) -> float:
        return statistic(scored.scores[rows], scored.forged[rows])

    found = bootstrap(drawn, scored.patients, rng, resamples)
    return [number(found.low), number(found.high)] if math.isfinite(found.low) else None


def _never_or_always(rate: JSON, drawn: JSON, scored: Scored, side: NDArray[np.bool_]) -> JSON:
    """The interval of a rate; that of Wilson over patients where no case was flagged, or all were.

    Every draw of patients then gives the same rate, as if nothing else were possible: none of nine is no proof of 0.
    """
    patients = len({patient for patient, inside in zip(scored.patients, side, strict=True) if inside})
    if drawn is None or rate not in (0.0, 1.0):
        return drawn
    low, high = wilson_interval(patients if rate == 1.0 else 0, patients)
    return [number(low), number(high)]


def places(outcomes: Sequence[Outcome], rng: np.random.Generator, resamples: int) -> JSON:
    """Mean of each measure of `outcomes.localised` over the forged series that have it, with their number."""
    table: dict[str, JSON] = {}
    for name in LOCAL:
        rows = [(one.place[name], one.patient) for one in outcomes if one.forged and name in one.place]
        if not rows:
            continue
        scored = Scored.of((value, True, patient) for value, patient in rows)
        table[name] = {
            "mean": number(float(scored.scores.mean())),
            "interval": interval(scored, lambda s, _: float(s.mean()) if s.size else math.nan, rng, resamples),
            "series": len(rows),
        }
    flagged = [one.place["flagged_share"] for one in outcomes if "flagged_share" in one.place]
    return table | {"flagged_share_of_authentic": number(float(np.mean(flagged)) if flagged else math.nan)}


def maps(outcomes: Iterable[Outcome]) -> bool:
    """Whether the model gives maps at all: without them its marks are not missing but not measurable."""
    return any(one.place or one.marks for one in outcomes)


def regions(outcomes: Sequence[Outcome], threshold: float, rng: np.random.Generator, resamples: int) -> JSON:
    """Forged places that a region from the threshold on hits, and regions beside them; by generator, the worst first.

    What is no forged place has no number, so there is no specificity: false regions a series stand for it. Further
    regions on a place count as nothing, as in the FROC curve. None where the model gives no map.
    """
    if not maps(outcomes):
        return None
    rows = [(_hits(one, threshold), one) for one in outcomes]
    authentic = [false for (_, false), one in rows if not one.forged]
    made = sorted({one.groups.get("generator", "") for one in outcomes if one.lesions})
    by_generator: list[dict[str, JSON]] = [
        {"generator": name, **_found_of([row for row in rows if row[1].groups.get("generator") == name])}
        for name in made
    ]
    by_generator.sort(key=lambda row: row["recall"] if isinstance(row["recall"], float) else math.inf)
    places = [(float(n < hits), one.patient) for (hits, _), one in rows for n in range(one.lesions)]
    scored = Scored.of((found, True, patient) for found, patient in places)
    return {
        **_found_of(rows),
        "recall_interval": interval(scored, lambda s, _: float(s.mean()) if s.size else math.nan, rng, resamples),
        "false_regions_a_series": number(float(np.mean([false for (_, false), _ in rows]))),
        "false_regions_an_authentic_series": number(float(np.mean(authentic)) if authentic else math.nan),
        "average_precision": number(froc.average_precision([one.scan for one in outcomes])),
        "by_generator": [*by_generator],
    }


def _hits(one: Outcome, threshold: float) -> tuple[int, int]:
    """Forged places of a series that are hit from the threshold on, and regions that hit none."""
    shown = [hit for score, hit in one.marks if score >= threshold]
    return len(set(shown) - {None}), shown.count(None)


def _found_of(rows: Sequence[tuple[tuple[int, int], Outcome]]) -> dict[str, JSON]:
    found, false = (sum(counts[which] for counts, _ in rows) for which in (0, 1))
    forged = sum(one.lesions for _, one in rows)
    matrix = decisions.Confusion(found, false, forged - found, 0)
    return {
        "forged": forged,
        "found": found,
        "false": false,
        **{name: number(getattr(matrix, name)) for name in ("recall", "precision", "f1")},
    }


def marks(outcomes: Sequence[Outcome]) -> JSON:
    """Share of the forgeries found at each number of false marks a scan, and their mean; null without any map."""
    curve = froc.froc([one.scan for one in outcomes])
    found = froc.sensitivities_at(curve)
    mapped = maps(outcomes)
    rates = {f"{r:g}": number(value) if mapped else None for r, value in zip(froc.RATES, found, strict=True)}
    return {
        "sensitivity": dict(rates),
        "mean": number(froc.mean_sensitivity(curve)) if mapped else None,
        "lesions": sum(one.lesions for one in outcomes),
    }


def calibration(outcomes: Sequence[Outcome]) -> JSON:
    """ECE, Brier score and area under risk-coverage of the answered series. They depend on the share of forged ones."""
    answered = [one for one in outcomes if one.score is not None]
    probabilities = np.array([one.score for one in answered], dtype=np.float64)
    truths = np.array([one.forged for one in answered], dtype=bool)
    decided = [(one, one.verdict) for one in answered if one.verdict != "inconclusive"]
    wrong = [one.forged != (said == "suspicious") for one, said in decided]
    return {
        "series": len(answered),
        "prevalence": number(float(truths.mean()) if truths.size else math.nan),
        "ece": number(reliability.ece(probabilities, truths)),
        "brier": number(reliability.brier(probabilities, truths)),
        "risk_coverage_area": number(reliability.risk_coverage_area(*confidence(outcomes))),
        "answered_share": number(len(decided) / len(outcomes) if outcomes else math.nan),
        "error_among_answered": number(float(np.mean(wrong)) if wrong else math.nan),
    }


def confidence(outcomes: Iterable[Outcome]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far each answered series' probability (N) is from a half, and whether that side of it is the wrong one."""
    answered = [(one.score, one.forged) for one in outcomes if one.score is not None]
    probabilities = np.array([score for score, _ in answered], dtype=np.float64)
    truths = np.array([forged for _, forged in answered], dtype=bool)
    return np.abs(probabilities - 0.5), (probabilities >= 0.5) != truths


def groups(outcomes: Sequence[Outcome]) -> list[JSON]:
    """One row for each value of each group, the lowest AUROC first; those too small for one stand last.

    The forgeries of one generator are held against all authentic series; of a scanner, a kernel and so on, forged
    against authentic of the same.
    """
    found: list[dict[str, JSON]] = []
    for key in dict.fromkeys(key for one in outcomes for key in one.groups):
        for value in sorted({one.groups[key] for one in outcomes if key in one.groups}):
            inside = [one for one in outcomes if one.groups.get(key) == value]
            authentic = [one for one in outcomes if not one.forged] if key == "generator" else inside
            forged = [_score(one) for one in inside if one.forged]
            below = [_score(one) for one in authentic if not one.forged]
            if key == "generator" and not forged:
                continue
            enough = min(len(forged), len(below)) >= FEWEST
            found.append(
                {
                    "group": key,
                    "value": value,
                    "forged": len(forged),
                    "authentic": len(below),
                    "auroc": number(auroc(forged, below) if enough else math.nan),
                    "suspicious_forged": sum(one.forged and one.verdict == "suspicious" for one in inside),
                    "suspicious_authentic": sum(not one.forged and one.verdict == "suspicious" for one in authentic),
                }
            )
    found.sort(key=_worst_first)
    return list(found)


def _worst_first(row: Mapping[str, JSON]) -> tuple[bool, float]:
    area = row["auroc"]
    return (not isinstance(area, float), area if isinstance(area, float) else 0.0)


def _score(one: Outcome) -> float:
    return REFUSED if one.score is None else one.score


def number(value: float) -> JSON:
    """Rounded to four places; None for what is not measurable."""
    return round(float(value), 4) if math.isfinite(value) else None
