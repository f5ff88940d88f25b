"""Models on the same cases beside each other: figures with intervals, what they cost, and which differ from the best.

A model that was trained with several seeds has the mean of each figure over them, and their standard deviation. Its
interval draws whole patients and takes the mean of the seeds each time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamperscope import weights
from tamperscope.errors import UnreadableError, WeightsError
from tamperscope.evaluate.intervals import LEVEL, bootstrap, holm, paired_bootstrap
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.run import ROWS
from tamperscope.evaluate.summary import by_series, summary
from tamperscope.records import JSON
from tamperscope.weights import Card

SCHEMA = "tamperscope/leaderboard/1"
FIGURES = "evaluation.json"
SEED = 0
DRAWS_A_MODEL = 100
"""Resamples of a comparison for each model beside the best: with fewer no p-value could survive the correction."""
Row: TypeAlias = dict[str, Any]
Seeds: TypeAlias = NDArray[np.float64]
"""Scores (S, N) of N series by each of S seeds."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model took; None where nobody measured it."""

    parameters: int | None = None
    training_seconds: float | None = None
    training_bytes: float | None = None
    """Peak memory of the process."""
    judging_bytes: float | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One evaluation, of one seed."""

    seed: int | None
    outcomes: tuple[Outcome, ...]
    figures: Mapping[str, Any]
    """See `summary.summary`."""
    costs: Costs = Costs()

    @classmethod
    def read(cls, folder: Path, seed: int | None = None, costs: Costs = Costs()) -> Result:
        """From the folder of an evaluation.

        Raises:
            UnreadableError: it lacks something, or is damaged.
        """
        try:
            _, *rows = (folder / ROWS).read_text(encoding="utf-8").splitlines()
            outcomes = tuple(Outcome.from_json(json.loads(row)) for row in rows)
            figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
            return cls(seed, outcomes, {key: figures[key] for key in ("threshold", *LEVELS, "place", "groups")}, costs)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableError(f"the evaluation in {folder} is damaged: {error}", hint="remove it") from error

    def of(self, generator: str, resamples: int = 1000) -> Result:
        """The same on the forgeries by one generator and on all authentic series."""
        kept = tuple(one for one in self.outcomes if not one.forged or one.groups.get("generator") == generator)
        figures = summary(kept, self.figures["threshold"], np.random.default_rng(SEED), resamples)
        return replace(self, outcomes=kept, figures=figures)

    @property
    def scores(self) -> dict[str, float]:
        """Of every series, a refused one below all."""
        scored = by_series(self.outcomes)
        return dict(zip((one.name for one in self.outcomes), scored.scores.tolist(), strict=True))


LEVELS = ("series", "patient", "slice")


@dataclass(frozen=True, slots=True)
class Entrant:
    """One model in a table."""

    model: str
    system: str | None
    """None for a Card, which was trained elsewhere."""
    results: tuple[Result, ...]
    wanted: int
    """Results that there are to be, one a seed."""
    problems: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Models on one split of one data set."""

    name: str
    data: str
    left_out: str | None
    """Generator that was not trained on, and whose forgeries alone are judged."""
    entrants: tuple[Entrant, ...]
    part: str | None = None
    slice_split: bool = False
    allow_leaks: bool = False
    beside: str | None = None
    """Name of the data set, split by patient, that one split by slice is held against."""


def board(name: str, tables: Sequence[Table], resamples: int = 1000) -> dict[str, Any]:
    """The whole leaderboard as JSON: tables, what leaving a generator out costs, and what a split by slice adds."""
    made = [tabled(table, resamples) for table in tables]
    return {
        "schema": SCHEMA,
        "name": name,
        "tables": made,
        "left_out": left_out(made),
        "slice_split": slice_split(made),
    }


def tabled(table: Table, resamples: int = 1000) -> dict[str, Any]:
    """One table: a row for each model, the highest AUROC by series first, those without one last."""
    rows = [row(entrant, resamples) for entrant in table.entrants]
    order = sorted(range(len(rows)), key=lambda n: _best_first(rows[n]))
    ranked = [table.entrants[n] for n in order]
    for number, found in enumerate(against_best(ranked, resamples)):
        rows[order[number]]["against_best"] = found
    about = {key: getattr(table, key) for key in ("name", "data", "left_out", "part", "slice_split", "allow_leaks")}
    return {**about, "beside": table.beside, "cases": _cases(table), "rows": [rows[n] for n in order]}


def row(entrant: Entrant, resamples: int = 1000) -> Row:
    """Every figure of one model."""
    results = entrant.results
    found: Row = {"model": entrant.model, "system": entrant.system, "state": _state(entrant)}
    found["seeds"] = [one.seed for one in results if one.seed is not None]
    for name in ("auroc", "recall", "false_alarm_rate"):
        found[name] = figure(results, name, resamples)
    found["detection_at_0.01"] = _mean_of(results, lambda one: one.figures["series"]["detection_at_0.01"])
    found["slice_auroc"] = _mean_of(results, lambda one: one.figures["slice"]["auroc"])
    found["patient_auroc"] = _mean_of(results, lambda one: one.figures["patient"]["auroc"])
    for name in ("pointing", "pixel_f1"):
        found[name] = _mean(_numbers((one.figures["place"].get(name) or {}).get("mean") for one in results))
    found["worst"] = worst(results)
    found["refused"] = _mean_of(results, lambda one: float(sum(case.score is None for case in one.outcomes)))
    found["series"] = min((len(one.outcomes) for one in results), default=0)
    found["seconds_a_slice"] = _mean_of(results, lambda one: seconds_a_slice(one.outcomes))
    for name in ("parameters", "training_seconds", "training_bytes", "judging_bytes", "threads"):
        found[name] = _mean(_numbers(getattr(one.costs, name) for one in results))
    return found | {"against_best": None, "commands": list(entrant.commands)}


def figure(results: Sequence[Result], name: str, resamples: int = 1000) -> Row:
    """Mean over seeds of a figure by series, its standard deviation over them, and its interval over patients.

    Args:
        results: one a seed.
        name: "auroc", "recall" or "false_alarm_rate".
        resamples: draws of patients; 0 for no interval.
    """
    values = _numbers(one.figures["series"][name] for one in results)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    interval = results[0].figures["series"][f"{name}_interval"] if len(results) == 1 else None
    if len(results) > 1 and resamples:
        interval = _interval(results, name, resamples)
    return {"mean": _mean(values), "spread": _rounded(spread), "interval": interval}


def worst(results: Sequence[Result]) -> Row | None:
    """The generator with the lowest AUROC, mean over seeds; None where no generator has enough cases."""
    found: dict[str, list[float]] = {}
    for one in results:
        for group in one.figures["groups"]:
            if group["group"] == "generator" and group["auroc"] is not None:
                found.setdefault(group["value"], []).append(group["auroc"])
    if not found:
        return None
    name = min(found, key=lambda key: (float(np.mean(found[key])), key))
    return {"generator": name, "auroc": _mean(found[name])}


def seconds_a_slice(outcomes: Iterable[Outcome]) -> float | None:
    """Seconds of all answered series by their slices.

    Refused series are left out of both: a model that refuses quickly would seem fast.
    """
    answered = [one for one in outcomes if one.score is not None]
    sizes = [len(one.slice_scores) or len(one.slice_truths) for one in answered]
    timed = [(one.seconds, size) for one, size in zip(answered, sizes, strict=True) if size]
    return sum(seconds for seconds, _ in timed) / sum(size for _, size in timed) if timed else None


def against_best(ranked: Sequence[Entrant], resamples: int = 1000) -> list[Row | None]:
    """For each model, whether its AUROC by series differs from that of the first, the best.

    Paired bootstrap over patients on the series that all of them judged, p-values corrected after Holm. None for the
    best itself, where nothing can be compared, and with no resamples.
    """
    rated = [n for n, one in enumerate(ranked) if one.results and row_auroc(one) is not None]
    found: list[Row | None] = [None] * len(ranked)
    if len(rated) < 2 or not resamples:
        return found
    scores, forged, patients = aligned([ranked[n] for n in rated])
    first = _auroc_of(scores[0], forged)
    draws = max(resamples, DRAWS_A_MODEL * (len(rated) - 1))
    gaps = [
        paired_bootstrap(first, _auroc_of(other, forged), patients, np.random.default_rng(SEED), draws)
        for other in scores[1:]
    ]
    corrected = holm([gap.p_value for gap in gaps])
    for n, gap, p_value in zip(rated[1:], gaps, corrected, strict=True):
        found[n] = {
            "difference": _rounded(gap.estimate),
            "interval": [_rounded(gap.low), _rounded(gap.high)],
            "p_value": _rounded(gap.p_value),
            "p_holm": _rounded(float(p_value)),
            "differs": None if math.isnan(p_value) else bool(p_value <= 1.0 - LEVEL),
        }
    return found


def aligned(entrants: Sequence[Entrant]) -> tuple[list[Seeds], NDArray[np.bool_], list[str]]:
    """Scores (S, N) of each model on the N series that all have judged, which are forged (N), and whose they are."""
    tables = [[one.scores for one in entrant.results] for entrant in entrants]
    common = set.intersection(*(set(scores) for table in tables for scores in table))
    cases = [case for case in entrants[0].results[0].outcomes if case.name in common]
    scores = [np.array([[by_name[case.name] for case in cases] for by_name in table]) for table in tables]
    return scores, np.array([case.forged for case in cases], dtype=bool), [case.patient for case in cases]


def row_auroc(entrant: Entrant) -> float | None:
    """Mean AUROC by series over the seeds."""
    return _mean(_numbers(one.figures["series"]["auroc"] for one in entrant.results))


def left_out(tables: Sequence[Mapping[str, Any]]) -> list[Row]:
    """For each data set of which generators were left out: AUROC of each model on each, their mean, and the worst.

    Models of the suite alone: what a Card was trained on, the suite does not know.
    """
    found: list[Row] = []
    for data in dict.fromkeys(table["data"] for table in tables if table["left_out"]):
        mine = [table for table in tables if table["data"] == data and table["left_out"]]
        generators = [table["left_out"] for table in mine]
        rows: dict[str, Row] = {}
        for table in mine:
            for one in (row for row in table["rows"] if row["system"] is not None):
                at = rows.setdefault(one["model"], {"model": one["model"], "system": one["system"], "auroc": {}})
                at["auroc"][table["left_out"]] = one["auroc"]["mean"]
        for one in rows.values():
            areas = _numbers(one["auroc"].values())
            one |= {"mean": _mean(areas), "worst": min(areas, default=None)}
        ordered = sorted(rows.values(), key=lambda one: -(one["worst"] if one["worst"] is not None else -1.0))
        found.append({"data": data, "generators": generators, "rows": ordered})
    return found


def slice_split(tables: Sequence[Mapping[str, Any]]) -> list[Row]:
    """For each data set that is split by slice: AUROC by slice of each model there, and where patients are split."""
    found: list[Row] = []
    honest = {table["data"]: table for table in tables if not table["slice_split"] and table["left_out"] is None}
    for table in tables:
        other = honest.get(table["beside"] or "")
        if not table["slice_split"] or other is None:
            continue
        pairs = {one["model"]: by_slices(one) for one in other["rows"]}
        rows = [
            {"model": one["model"], "by_slice": by_slices(one), "by_patient": pairs[one["model"]]}
            for one in table["rows"]
            if one["model"] in pairs and one["system"] is not None
        ]
        for one in rows:
            both = one["by_slice"] is not None and one["by_patient"] is not None
            one["difference"] = _rounded(one["by_slice"] - one["by_patient"]) if both else None
        found.append({"data": table["data"], "beside": table["beside"], "rows": rows})
    return found


def by_slices(one: Mapping[str, Any]) -> float | None:
    """AUROC by slice; by series where slices stand as series of their own, as a set split by slice can have them."""
    found: float | None = one["slice_auroc"] if one["slice_auroc"] is not None else one["auroc"]["mean"]
    return found


def parameters(card: Card) -> int | None:
    """Numbers in the weights of a Card's network; None where it has none, or the library that reads it is missing."""
    if card.file is None:
        return None
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    try:
        graph = onnx.load_from_string(weights.verified(card)).graph
    except WeightsError:
        return None
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(int(np.prod(one.dims)) for one in graph.initializer if one.data_type in floats)


def _state(entrant: Entrant) -> str:
    if entrant.problems:
        return f"failed: {'; '.join(entrant.problems)}"
    if not entrant.results:
        return "not run"
    missing = entrant.wanted - len(entrant.results)
    return f"{missing} of {entrant.wanted} seeds not run" if missing else "done"


def _best_first(found: Row) -> float:
    area = found["auroc"]["mean"]
    return math.inf if area is None else -float(area)


def _cases(table: Table) -> Row:
    """How many series and patients were judged: of the model that judged most."""
    most = max((one.outcomes for entrant in table.entrants for one in entrant.results), key=len, default=())
    return {
        "series": len(most),
        "forged": sum(one.forged for one in most),
        "authentic": sum(not one.forged for one in most),
        "patients": len({one.patient for one in most}),
        "slices": sum(len(one.slice_truths) for one in most),
    }


def _interval(results: Sequence[Result], name: str, resamples: int) -> list[float | None] | None:
    """Of the mean over seeds; where a rate is 0 or 1, that of Wilson over patients, as in `summary.level`."""
    (scores,), forged, patients = aligned([Entrant("", None, tuple(results), len(results))])
    side = forged if name == "recall" else ~forged
    if name == "auroc":
        statistic = _auroc_of(scores, forged)
    else:
        thresholds = np.array([one.figures["threshold"] for one in results])[:, None]
        flagged = (scores >= thresholds).mean(axis=0)
        rate = float(flagged[side].mean()) if side.any() else math.nan
        if rate in (0.0, 1.0):
            count = len({patient for patient, inside in zip(patients, side, strict=True) if inside})
            return [_rounded(border) for border in wilson_interval(count * int(rate), count)]
        statistic = _mean_where(flagged, side)
    found = bootstrap(statistic, patients, np.random.default_rng(SEED), resamples)
    return [_rounded(found.low), _rounded(found.high)] if math.isfinite(found.low) else None


def _auroc_of(scores: Seeds, forged: NDArray[np.bool_]) -> Callable[[NDArray[np.intp]], float]:
    """From rows to the mean over seeds of the AUROC on them."""

    def statistic(rows: NDArray[np.intp]) -> float:
        truth = forged[rows]
        return float(np.mean([auroc(one[rows][truth], one[rows][~truth]) for one in scores]))

    return statistic


def _mean_where(values: NDArray[np.float64], side: NDArray[np.bool_]) -> Callable[[NDArray[np.intp]], float]:
    def statistic(rows: NDArray[np.intp]) -> float:
        kept = values[rows][side[rows]]
        return float(kept.mean()) if kept.size else math.nan

    return statistic


def _mean_of(results: Sequence[Result], value: Callable[[Result], JSON]) -> float | None:
    return _mean(_numbers(value(one) for one in results))


def _numbers(values: Iterable[Any]) -> list[float]:
    """Those that are a number."""
    return [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]


def _mean(values: Sequence[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _rounded(value: float | None) -> float | None:
    """To four significant places below 1, as far as it is a number."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 4) if abs(value) >= 0.01 else float(f"{value:.3g}")
