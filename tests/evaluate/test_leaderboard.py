from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tamperscope import weights
from tamperscope.errors import UnreadableError
from tamperscope.evaluate import leaderboard
from tamperscope.evaluate.intervals import paired_bootstrap
from tamperscope.evaluate.leaderboard import Costs, Entrant, Result, Table
from tamperscope.evaluate.metrics import auroc, wilson_interval
from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import summary

THRESHOLD = 0.6


def answers(strength: float, seed: int = 0, patients: int = 12, generators=("a", "b")) -> tuple[Outcome, ...]:
    """Two forged and two authentic series of each patient; forged ones score higher by ``strength``."""
    rng = np.random.default_rng(seed)
    found = []
    for patient in range(patients):
        for number, forged in enumerate((True, True, False, False)):
            score = float(np.clip(rng.normal(0.3 + strength * forged, 0.2), 0.0, 1.0))
            found.append(
                Outcome(
                    name=f"set/p{patient}/{number}",
                    patient=f"p{patient}",
                    forged=forged,
                    groups={"generator": generators[number % len(generators)] if forged else "none"},
                    score=score,
                    verdict="suspicious" if score >= THRESHOLD else "no_evidence",
                    slice_scores=(score, score / 2),
                    slice_truths=(forged, False),
                    seconds=0.5,
                )
            )
    return tuple(found)


def nudged(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Nearly the same answers."""
    rng = np.random.default_rng(9)
    return tuple(replace(one, score=float(np.clip(one.score + rng.normal(0.0, 0.03), 0.0, 1.0))) for one in outcomes)


def result(outcomes: tuple[Outcome, ...], seed: int | None = None, **costs: float) -> Result:
    figures = summary(outcomes, THRESHOLD, np.random.default_rng(0), 50)
    return Result(seed, outcomes, figures, Costs(**costs))


def entrant(name: str, *results: Result, wanted: int | None = None, system: str | None = "picture-net") -> Entrant:
    return Entrant(name, system, results, len(results) if wanted is None else wanted, commands=(f"make {name}",))


def test_one_seed_says_what_its_evaluation_says():
    one = result(answers(0.2), 1, parameters=7, training_seconds=60.0, training_bytes=2**30, judging_bytes=2**29)
    row = leaderboard.row(entrant("m", one), 50)
    series = one.figures["series"]
    for name in ("auroc", "recall", "false_alarm_rate"):
        assert row[name] == {"mean": series[name], "spread": None, "interval": series[f"{name}_interval"]}
    assert row["slice_auroc"] == one.figures["slice"]["auroc"]
    assert (row["parameters"], row["training_seconds"], row["training_bytes"]) == (7, 60.0, 2**30)
    assert row["seconds_a_slice"] == 0.25
    assert (row["state"], row["seeds"], row["refused"], row["series"]) == ("done", [1], 0.0, 48)
    assert row["pointing"] is None


def test_several_seeds_have_mean_spread_and_an_interval_over_patients():
    results = [result(answers(0.2, seed), seed) for seed in (1, 2, 3)]
    areas = [one.figures["series"]["auroc"] for one in results]
    found = leaderboard.figure(results, "auroc", 200)
    assert found["mean"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert found["spread"] == pytest.approx(np.std(areas, ddof=1), abs=1e-3)
    low, high = found["interval"]
    assert low < found["mean"] < high
    recall = leaderboard.figure(results, "recall", 200)
    assert recall["interval"][0] < recall["mean"] < recall["interval"][1]
    assert leaderboard.figure(results, "auroc", 0)["interval"] is None


def test_never_or_always_over_seeds_is_wilson_over_patients():
    results = [result(tuple(replace(one, score=0.1) for one in answers(0.2, seed)), seed) for seed in (1, 2)]
    found = leaderboard.figure(results, "false_alarm_rate", 50)
    assert found["mean"] == 0.0
    assert found["interval"] == pytest.approx(wilson_interval(0, 12), abs=1e-3)


def test_refused_series_are_counted_and_do_not_make_a_model_fast():
    plain = answers(0.2)
    refused = tuple(
        replace(one, score=None, verdict="inconclusive", slice_scores=(), seconds=0.0) if number % 2 else one
        for number, one in enumerate(plain)
    )
    assert leaderboard.seconds_a_slice(refused) == leaderboard.seconds_a_slice(plain) == 0.25
    assert leaderboard.row(entrant("m", result(refused)), 0)["refused"] == 24.0
    none = tuple(replace(one, score=None, slice_scores=()) for one in plain)
    assert leaderboard.seconds_a_slice(none) is None


def test_a_model_is_held_against_the_best_with_holms_correction():
    best, close, far = (
        entrant("best", result(answers(0.4, 0))),
        entrant("close", result(nudged(answers(0.4, 0)))),
        entrant("far", result(answers(0.0, 1))),
    )
    table = leaderboard.tabled(Table("t", "t", None, (far, close, best)), 200)
    assert [row["model"] for row in table["rows"]][-1] == "far"
    first, second, last = (row["against_best"] for row in table["rows"])
    assert first is None
    assert last["differs"] is True
    assert last["p_holm"] == pytest.approx(min(1.0, 2 * last["p_value"]), rel=1e-2)
    assert second["differs"] is False
    by_name = {one.model: one for one in (best, close, far)}
    (one, other), forged, patients = leaderboard.aligned([by_name[table["rows"][n]["model"]] for n in (0, 2)])

    def area(scores):
        return lambda rows: auroc(scores[0][rows][forged[rows]], scores[0][rows][~forged[rows]])

    expected = paired_bootstrap(area(one), area(other), patients, np.random.default_rng(0), 200)
    assert last["difference"] == pytest.approx(expected.estimate, abs=1e-4)
    assert last["interval"] == pytest.approx([expected.low, expected.high], abs=1e-4)


def test_models_are_compared_on_the_series_that_all_have_judged():
    whole = answers(0.4)
    (one, other), forged, patients = leaderboard.aligned(
        [entrant("a", result(whole)), entrant("b", result(whole[:10][::-1]))]
    )
    assert one.shape == other.shape == (1, 10)
    assert (one == other).all()
    assert (len(forged), len(patients)) == (10, 10)


def test_the_worst_generator_is_named():
    weak = tuple(
        replace(one, score=0.05) if one.groups["generator"] == "b" else one for one in answers(0.5, patients=8)
    )
    found = leaderboard.worst([result(weak)])
    assert found["generator"] == "b"
    assert found["auroc"] < 0.2
    assert leaderboard.worst([result(answers(0.2, patients=2))]) is None


def test_a_missing_or_failed_row_says_so():
    made = result(answers(0.2), 1)
    assert leaderboard.row(entrant("m"), 0)["state"] == "not run"
    assert leaderboard.row(entrant("m", made, wanted=3), 0)["state"] == "2 of 3 seeds not run"
    failed = replace(entrant("m"), problems=("no memory",))
    assert leaderboard.row(failed, 0)["state"] == "failed: no memory"
    table = leaderboard.tabled(Table("t", "t", None, (failed, entrant("n", made))), 10)
    assert [row["model"] for row in table["rows"]] == ["n", "m"]
    assert [row["against_best"] for row in table["rows"]] == [None, None]


def test_the_answers_to_one_generator_are_a_table_of_their_own():
    part = result(answers(0.3)).of("a", 20)
    assert {one.groups["generator"] for one in part.outcomes} == {"a", "none"}
    assert part.figures["series"]["forged"] == 12
    assert part.figures["series"]["authentic"] == 24


def test_left_out_generators_side_by_side_the_best_worst_first():
    tables = [
        Table(
            f"set without {name}",
            "set",
            name,
            (entrant("weak", result(answers(low))), entrant("strong", result(answers(high)))),
        )
        for name, low, high in (("a", 0.5, 0.3), ("b", 0.0, 0.3))
    ]
    (found,) = leaderboard.board("s", tables, 0)["left_out"]
    assert (found["data"], found["generators"]) == ("set", ["a", "b"])
    assert [row["model"] for row in found["rows"]] == ["strong", "weak"]
    for row in found["rows"]:
        assert row["worst"] == min(row["auroc"].values())
        assert row["mean"] == pytest.approx(np.mean(list(row["auroc"].values())), abs=1e-3)


def test_what_a_split_by_slice_adds_is_told_for_what_was_trained_on_both():
    card = entrant("card", result(answers(0.2)), system=None)
    honest = Table("p", "p", None, (entrant("m", result(answers(0.1))), card))
    leaking = Table("s", "s", None, (entrant("m", result(answers(0.5))), card), slice_split=True, beside="p")
    (found,) = leaderboard.board("s", [honest, leaking], 0)["slice_split"]
    (row,) = found["rows"]
    assert row["model"] == "m"
    assert row["difference"] == pytest.approx(row["by_slice"] - row["by_patient"], abs=1e-4)
    assert row["difference"] > 0.1


def test_slices_that_stand_as_series_are_taken_by_series():
    alone = tuple(replace(one, slice_scores=(one.score,), slice_truths=()) for one in answers(0.3))
    row = leaderboard.row(entrant("m", result(alone)), 0)
    assert row["slice_auroc"] is None
    assert leaderboard.by_slices(row) == row["auroc"]["mean"]


def test_an_evaluation_is_read_back_and_a_damaged_one_is_named(tmp_path):
    made = result(answers(0.2), 3)
    (tmp_path / "evaluation.json").write_text(json.dumps({"model": "m", **made.figures}))
    lines = [{"schema": "head"}, *(one.to_json() for one in made.outcomes)]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = Result.read(tmp_path, 3)
    assert read.outcomes == made.outcomes
    assert read.figures["series"] == made.figures["series"]
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UnreadableError, match="is damaged"):
        Result.read(tmp_path)


def test_the_parameters_of_a_card_are_counted_in_its_network():
    pytest.importorskip("onnx", reason="the extra [train] is not installed")
    cards = {card.name: card for card in weights.packaged()}
    counted = leaderboard.parameters(cards["ct-fast"])
    assert counted is not None
    assert 10_000 < counted < 10_000_000
    assert leaderboard.parameters(cards["ct-noise"]) is None
