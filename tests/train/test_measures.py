from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from tamperscope.errors import UsageError
from tamperscope.train.measures import MEASURES, measured
from tamperscope.train.options import MEASURES as NAMES

FORGED = np.random.default_rng(0).normal(1.0, 1.0, 60).tolist()
AUTHENTIC = np.random.default_rng(1).normal(0.0, 1.0, 60).tolist()
TRUTH, LOGITS = [1] * 60 + [0] * 60, np.array(FORGED + AUTHENTIC)


def test_a_recipe_can_name_each_of_them():
    assert tuple(MEASURES) == NAMES


def test_they_are_what_scikit_learn_says():
    assert measured("auroc", FORGED, AUTHENTIC) == pytest.approx(roc_auc_score(TRUTH, LOGITS), abs=1e-6)
    assert measured("auprc", FORGED, AUTHENTIC) == pytest.approx(average_precision_score(TRUTH, LOGITS), abs=1e-6)
    assert measured("minus_loss", FORGED, AUTHENTIC) == pytest.approx(
        -log_loss(TRUTH, 1.0 / (1.0 + np.exp(-LOGITS))), abs=1e-5
    )


def test_found_counts_above_the_three_highest_of_sixty():
    border = sorted(AUTHENTIC)[-4]
    assert measured("found", FORGED, AUTHENTIC) == pytest.approx(np.mean(np.array(FORGED) > border))
    with pytest.raises(UsageError, match="with 19 authentic"):
        measured("found", FORGED, AUTHENTIC[:19])


@pytest.mark.parametrize("name", NAMES)
def test_higher_is_better_and_no_number_is_none(name):
    assert measured(name, [value + 1.0 for value in FORGED], AUTHENTIC) > measured(name, FORGED, AUTHENTIC)
    assert math.isnan(measured(name, [math.nan, *FORGED], AUTHENTIC))
