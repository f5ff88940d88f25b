from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tamperscope.errors import InputError, UnreadableError
from tamperscope.evaluate import run
from tamperscope.evaluate.against import Other, compared, other
from tamperscope.evaluate.outcomes import Outcome


def answers(strength: float, seed: int) -> dict[str, Outcome]:
    """Forty patients, each with a forged and an authentic series of three slices."""
    rng = np.random.default_rng(seed)
    made = []
    for patient in range(40):
        for forged in (True, False):
            slices = tuple(float(value) for value in rng.normal(strength * forged, 1.0, 3))
            truths = (forged, False, forged)
            made.append(
                Outcome(
                    f"{patient}-{forged}",
                    f"p{patient}",
                    forged,
                    {},
                    max(slices),
                    "",
                    slice_scores=slices,
                    slice_truths=truths,
                )
            )
    return {one.name: one for one in made}


@pytest.fixture(scope="module")
def strong():
    return answers(3.0, 0)


def rows(mine, *others):
    named = [Other(f"b{n}", one) for n, one in enumerate(others)]
    return compared("a", list(mine.values()), named, np.random.default_rng(0), 200)


def test_a_better_model_is_said_to_be_better_and_the_p_values_are_corrected_together(strong):
    found = rows(strong, answers(0.0, 1), strong)
    better, *_, same, same_slices = found["rows"]
    assert better["difference"] == pytest.approx(better["auroc"] - better["auroc_against"], abs=1e-4)
    assert better["interval"][0] > 0.0
    assert better["p_holm"] == pytest.approx(4 * better["p"], rel=1e-2), "one of four comparisons"
    assert better["p_delong_holm"] == pytest.approx(2 * better["p_delong"], rel=1e-2)
    assert 0.0 < better["p_delong"] < 1e-6
    assert found["in_words"][0].startswith("a ranks series better than b0 does")
    assert (same["difference"], same["p_holm"], same["p_delong_holm"]) == (0.0, 1.0, 1.0)
    assert "p_delong" not in same_slices, "slices of a scan are not independent"
    assert "no difference is shown" in found["in_words"][2]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_worse_model_is_said_to_be_worse(strong):
    assert rows(answers(0.0, 1), strong)["in_words"][0].startswith("b0 ranks series better than a does")


def test_series_that_only_one_model_was_asked_for_are_left_out_and_refusals_count(strong):
    less = dict(list(strong.items())[4:])
    refused = {name: replace(one, score=None, slice_scores=()) for name, one in less.items()}
    series, slices = rows(strong, refused)["rows"]
    assert series["forged"] == series["authentic"] == 38
    assert series["auroc_against"] == 0.5
    assert (slices["forged"], slices["auroc"], slices["p"]) == (0, None, None)


def test_one_patient_says_nothing(strong):
    one = dict(list(strong.items())[:2])
    assert "too few patients" in rows(one, one)["in_words"][0]


def test_answers_to_another_manifest_or_none_at_all_are_refused(tmp_path):
    with pytest.raises(UnreadableError, match="holds no answers"):
        other(tmp_path, "x")
    (tmp_path / run.ROWS).write_text("")
    with pytest.raises(UnreadableError, match="damaged"):
        other(tmp_path, "x")
    (tmp_path / run.ROWS).write_text('{"manifest": "y", "model": "b"}\n')
    with pytest.raises(InputError, match="another manifest"):
        other(tmp_path, "x")
    assert other(tmp_path, "y") == Other("b", {})
