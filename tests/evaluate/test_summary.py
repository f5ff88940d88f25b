from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tamperscope.evaluate.outcomes import Outcome
from tamperscope.evaluate.summary import Scored, by_patient, by_slice, groups, level, summary


def outcome(name: str, *, forged: bool, score: float | None, patient: str = "", **more) -> Outcome:
    said = "inconclusive" if score is None else "suspicious" if score >= 0.5 else "no_evidence"
    generator = "knife" if forged else "none"
    facts = {"groups": {"generator": generator, "scanner": "A"}, "seconds": 1.0} | more
    return Outcome(name, patient or name, forged, score=score, verdict=said, **facts)


@pytest.fixture
def outcomes():
    """Ten authentic and ten forged series of ten patients; two forged ones are missed, one is refused."""
    made = [outcome(f"a{n}", forged=False, score=0.04 * n, patient=f"p{n}") for n in range(10)]
    made += [outcome(f"f{n}", forged=True, score=0.6 + 0.03 * n, patient=f"p{n}") for n in range(7)]
    made += [outcome(f"f{n}", forged=True, score=0.1, patient=f"p{n}") for n in (7, 8)]
    return [*made, outcome("f9", forged=True, score=None, patient="p9")]


def test_the_figures_of_a_hand_made_case(outcomes):
    figures = summary(outcomes, 0.5, np.random.default_rng(0), resamples=50)
    series = figures["series"]
    assert series["confusion"] == {
        "true_positives": 7,
        "false_positives": 0,
        "false_negatives": 3,
        "true_negatives": 10,
    }
    assert (series["recall"], series["specificity"], series["precision"]) == (0.7, 1.0, 1.0)
    # Seven win against all ten; two of 0.1 against 0, 0.04 and 0.08; the refused one against none.
    assert series["auroc"] == pytest.approx((7 * 10 + 2 * 3 + 0) / 100)
    low, high = series["auroc_interval"]
    assert low <= series["auroc"] <= high
    assert series["detection_at_0.01"] is None, "ten authentic series cannot show one in a hundred"
    assert figures["cases"]["refused"] == 1
    assert figures["cases"]["verdicts"]["forged"] == {"inconclusive": 1, "no_evidence": 2, "suspicious": 7}
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_patient_s_highest_series_counts_and_forged_and_authentic_apart():
    made = [
        outcome("one", forged=False, score=0.2, patient="p"),
        outcome("two", forged=False, score=0.4, patient="p"),
        outcome("three", forged=True, score=0.9, patient="p"),
    ]
    scored = by_patient(made)
    assert scored.sides[0].tolist() == [0.9]
    assert scored.sides[1].tolist() == [0.4]


def test_slices_count_where_their_truth_is_known():
    made = [
        outcome("one", forged=True, score=0.9, slice_scores=(0.1, 0.9), slice_truths=(False, True)),
        outcome("two", forged=True, score=0.9, slice_scores=(0.3, 0.9)),
    ]
    assert by_slice(made).scores.tolist() == [0.1, 0.9]


def test_the_worst_group_stands_first_and_small_ones_last(outcomes):
    scanned = [outcome(f"b{n}", forged=n % 2 == 0, score=0.5, groups={"scanner": "B"}) for n in range(12)]
    few = [outcome(f"c{n}", forged=n % 2 == 0, score=0.5, groups={"scanner": "C"}) for n in range(4)]
    rows = groups([*outcomes, *scanned, *few])
    assert (rows[0]["group"], rows[0]["value"]) == ("scanner", "B")
    assert rows[0]["auroc"] == 0.5
    assert rows[-1]["auroc"] is None
    assert ("generator", "none") not in [(row["group"], row["value"]) for row in rows]


def test_one_class_and_nothing_at_all_give_nulls_and_no_crash():
    for made in ([], [outcome("a", forged=False, score=0.2)]):
        figures = summary(made, 0.5, np.random.default_rng(0), resamples=10)
        assert figures["series"]["auroc"] is None
        assert figures["series"]["auroc_interval"] is None


def test_intervals_draw_patients():
    """Ten copies of each of five patients: an interval over series would be three times as short."""
    rng = np.random.default_rng(1)
    rows = [(float(score), n % 2 == 0, f"p{n}") for n, score in enumerate(rng.random(10)) for _ in range(10)]
    by_patients = level(Scored.of(rows), 0.5, np.random.default_rng(0), 200)["auroc_interval"]
    alone = [(score, forged, f"{patient}-{n}") for n, (score, forged, patient) in enumerate(rows)]
    by_series = level(Scored.of(alone), 0.5, np.random.default_rng(0), 200)["auroc_interval"]
    assert by_patients[1] - by_patients[0] > 1.5 * (by_series[1] - by_series[0])


def test_an_outcome_survives_as_json():
    placed = outcome("x", forged=True, score=0.7, marks=((0.7, 0), (0.6, None)), place={"iou": 0.4}, lesions=1)
    row = json.loads(json.dumps(placed.to_json(), allow_nan=False))
    assert Outcome.from_json(row) == placed
    assert not math.isnan(Outcome.from_json(row).scan.lesions)


def test_no_false_alarm_in_ten_patients_is_no_proof_of_none(outcomes):
    series = summary(outcomes, 0.5, np.random.default_rng(0), resamples=50)["series"]
    assert series["false_alarm_rate"] == 0.0
    low, high = series["false_alarm_rate_interval"]
    assert low == 0.0
    assert high == pytest.approx(0.278, abs=0.01), "Wilson, 0 of 10"
    assert series["recall_interval"][0] < 0.7 < series["recall_interval"][1]
