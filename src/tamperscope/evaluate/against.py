"""Is one model better than another? Differences of AUROC on the same series, with what chance alone can do.

Every comparison draws whole patients, the same for both models (paired bootstrap). Of series there is DeLong's test
too, which takes them as independent; slices of a scan are not, so they have none. The p-values of all comparisons that
were made are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamperscope.errors import InputError
from tamperscope.evaluate import run
from tamperscope.evaluate.intervals import Difference, Statistic, delong_test, holm, paired_bootstrap
from tamperscope.evaluate.metrics import auroc
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import Scored, by_series, by_slice, number
from tamperscope.records import JSON

LEVEL = 0.05
"""Corrected p-value up to which a difference counts as shown."""
NOT_MEASURED = Difference(float("nan"), float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Other:
    """What another model answered to the same manifest."""

    model: str
    answers: Mapping[str, Outcome]


def other(folder: Path, manifest: JSON) -> Other:
    """The answers in the folder of an evaluation.

    Args:
        folder: with ``outcomes.jsonl``.
        manifest: digest of the manifest that was judged here.

    Raises:
        UnreadableError: the folder holds no answers.
        InputError: they are to another manifest.
    """
    head, answers = run.read(folder)
    if head.get("manifest") != manifest:
        raise InputError(
            f"{folder} holds answers to another manifest, or to another part of this one",
            hint="evaluate both models on the same --data and --part",
        )
    return Other(str(head.get("model")), answers)


def compared(
    model: str, outcomes: Sequence[Outcome], others: Sequence[Other], rng: np.random.Generator, resamples: int
) -> dict[str, JSON]:
    """A row for each other model and level, and what the rows say in words.

    Args:
        model: the name of what is evaluated.
        outcomes: its answers; only series that the other model was asked for too are compared.
        others: the models that it is held against.
        rng: of the draws of patients.
        resamples: how many; 0 leaves DeLong's test alone.
    """
    rows: list[dict[str, JSON]] = []
    for one in others:
        mine, theirs = _paired(outcomes, one.answers)
        series = by_series(mine), by_series(theirs)
        both = _sliced(mine, theirs)
        slices = by_slice(both[0]), by_slice(both[1])
        about: dict[str, JSON] = {"against": one.model}
        rows.append(about | {"level": "series"} | _row(*series, rng, resamples) | _delong(*series))
        rows.append(about | {"level": "slice"} | _row(*slices, rng, resamples))
    for key in ("p", "p_delong"):
        _correct(rows, key)
    return {"rows": [dict(row) for row in rows], "in_words": [in_words(model, row) for row in rows]}


def _paired(outcomes: Sequence[Outcome], answers: Mapping[str, Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    mine = [one for one in outcomes if one.name in answers]
    return mine, [answers[one.name] for one in mine]


def _sliced(mine: Sequence[Outcome], theirs: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """The series whose slices both models answered."""
    both = [
        (one, other)
        for one, other in zip(mine, theirs, strict=True)
        if one.slice_scores and len(one.slice_scores) == len(other.slice_scores)
    ]
    return [one for one, _ in both], [other for _, other in both]


def _row(mine: Scored, theirs: Scored, rng: np.random.Generator, resamples: int) -> dict[str, JSON]:
    forged = mine.forged

    def area(scored: Scored) -> Statistic:
        return lambda rows: auroc(scored.scores[rows][forged[rows]], scored.scores[rows][~forged[rows]])

    every = np.arange(forged.size)
    ours, others = area(mine)(every), area(theirs)(every)
    drawn = paired_bootstrap(area(mine), area(theirs), mine.patients, rng, resamples) if resamples else NOT_MEASURED
    return {
        "forged": int(forged.sum()),
        "authentic": int((~forged).sum()),
        "auroc": number(ours),
        "auroc_against": number(others),
        "difference": number(ours - others),
        "interval": [number(drawn.low), number(drawn.high)] if np.isfinite(drawn.low) else None,
        "p": _p(drawn.p_value),
    }


def _delong(mine: Scored, theirs: Scored) -> dict[str, JSON]:
    forged = mine.forged
    both = np.stack([mine.scores, theirs.scores])
    return {"p_delong": _p(delong_test(both[:, forged], both[:, ~forged]).p_value)}


def _correct(rows: Sequence[dict[str, JSON]], key: str) -> None:
    """Beside every p-value what is left of it after Holm's correction for all that were asked for."""
    having = [row for row in rows if key in row]
    values = [value if isinstance(value := row[key], float) else float("nan") for row in having]
    for row, corrected in zip(having, holm(values), strict=True):
        row[f"{key}_holm"] = _p(float(corrected))


def in_words(model: str, row: Mapping[str, JSON]) -> str:
    """What one row shows, as a sentence."""
    against, level = row["against"], "series" if row["level"] == "series" else "slices"
    difference, p = row["difference"], row["p_holm"]
    if not isinstance(difference, float) or not isinstance(p, float):
        return f"{model} against {against}, {level}: too few patients to say."
    figures = f"AUROC {_three(row['auroc'])} against {_three(row['auroc_against'])}, p = {p:.3g} after correction"
    if p > LEVEL:
        return f"{model} against {against}, {level}: no difference is shown ({figures})."
    better, worse = (model, against) if difference > 0 else (against, model)
    return f"{better} ranks {level} better than {worse} does ({figures})."


def _p(value: float) -> JSON:
    """Three digits, however small it is; None where the test could not be carried out."""
    return float(f"{value:.3g}") if np.isfinite(value) else None


def _three(value: JSON) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "not measurable"
