from __future__ import annotations

import json
import math
from dataclasses import replace

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


def test_regions_are_counted_at_the_threshold_and_the_worst_generator_stands_first():
    def forged(name, generator, *marks, lesions=1):
        return outcome(name, forged=True, score=0.9, lesions=lesions, marks=marks, groups={"generator": generator})

    made = [
        forged("one", "knife", (0.9, 0), (0.8, 0), (0.7, None)),
        forged("two", "brush", (0.4, 0)),
        forged("three", "knife", (0.6, 1), lesions=2),
        outcome("four", forged=False, score=0.6, marks=((0.6, None), (0.3, None))),
    ]
    found = summary(made, 0.5, np.random.default_rng(0), resamples=20)["region"]
    assert (found["forged"], found["found"], found["false"]) == (4, 2, 2)
    assert (found["recall"], found["precision"], found["f1"]) == (0.5, 0.5, 0.5)
    assert (found["false_regions_a_series"], found["false_regions_an_authentic_series"]) == (0.5, 1.0)
    assert [(row["generator"], row["recall"]) for row in found["by_generator"]] == [("brush", 0.0), ("knife", 0.6667)]
    # Hits at 0.9 (1 of 1 marks), 0.6 (2 of 4) and 0.4 (3 of 5), each worth a quarter; the fourth place is not marked.
    assert found["average_precision"] == pytest.approx((1 + 2 / 4 + 3 / 5) / 4, abs=1e-4)


def test_a_model_without_maps_has_no_regions_rather_than_none_found(outcomes):
    placed = [replace(one, lesions=int(one.forged)) for one in outcomes]
    figures = summary(placed, 0.5, np.random.default_rng(0), resamples=0)
    assert figures["region"] is None
    assert figures["froc"]["mean"] is None
    assert set(figures["froc"]["sensitivity"].values()) == {None}


def test_calibration_is_stated_at_every_level_for_what_was_answered(outcomes):
    series = summary(outcomes, 0.5, np.random.default_rng(0), resamples=0)["series"]
    answered = [one for one in outcomes if one.score is not None]
    assert series["brier"] == pytest.approx(np.mean([(one.score - one.forged) ** 2 for one in answered]), abs=1e-4)
    assert series["ece"] is not None


def test_the_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="the extra [train] is not installed")
    rng = np.random.default_rng(4)
    rows = [(round(float(rng.beta(2 + 2 * n % 3, 3)), 2), n % 3 == 0, f"p{n}") for n in range(60)]
    found = level(Scored.of(rows), 0.5, rng, 0)
    truth, scores = [forged for _, forged, _ in rows], [score for score, _, _ in rows]
    said = [score >= 0.5 for score in scores]
    expected = {
        "auroc": metrics.roc_auc_score(truth, scores),
        "auprc": metrics.average_precision_score(truth, scores),
        "accuracy": metrics.accuracy_score(truth, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, said),
        "precision": metrics.precision_score(truth, said),
        "recall": metrics.recall_score(truth, said),
        "specificity": metrics.recall_score(truth, said, pos_label=False),
        "f1": metrics.f1_score(truth, said),
        "brier": metrics.brier_score_loss(truth, scores),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    (tn, fp), (fn, tp) = metrics.confusion_matrix(truth, said)
    assert list(found["confusion"].values()) == [tp, fp, fn, tn]
