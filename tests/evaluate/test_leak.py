from __future__ import annotations

import json

import pytest

from tamperscope.errors import UnreadableError
from tamperscope.evaluate.leak import beside, read


def figures(slices: float | None, series: float | None) -> dict[str, dict[str, float | None]]:
    return {
        level: {"auroc": area, "accuracy": area, "balanced_accuracy": area}
        for level, area in (("slice", slices), ("series", series))
    }


def test_both_splits_stand_side_by_side_and_the_inflation_is_said(tmp_path):
    tree = {"model": "b4-slices"} | figures(0.98, None)
    (tmp_path / "evaluation.json").write_text(json.dumps(tree))
    found = beside("b4", figures(0.61, 0.7), read(tmp_path))
    first, *_, last = found["rows"]
    assert (first["level"], first["figure"], first["inflation"]) == ("slice", "auroc", pytest.approx(0.37))
    assert last["inflation"] is None
    assert "0.370 of it comes from slices of patients" in found["in_words"][0]
    assert "0.980 split by slices (b4-slices), 0.610 split by patients (b4)" in found["in_words"][0]
    assert "not measurable" in found["in_words"][-1]


def test_no_inflation_is_said_too(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"model": "x"} | figures(0.6, 0.6)))
    assert "adds nothing" in beside("x", figures(0.61, 0.61), read(tmp_path))["in_words"][0]


@pytest.mark.parametrize("text", [None, "{", "{}", "[]", '{"slice": 3}'])
def test_a_folder_without_an_evaluation_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(UnreadableError, match="cannot read"):
        read(tmp_path)
