from __future__ import annotations

import json as standard
import math
from dataclasses import replace

import jsonschema
import pytest

from tamperscope.errors import UnreadableError
from tamperscope.records import Report, StudyResult
from tamperscope.report import json


def objects(node):
    """All schemas of type object inside a schema."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_the_schema_is_sound_and_closed():
    schema = json.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "2020-12" in schema["$schema"]
    for node in objects(schema):
        assert node["additionalProperties"] is False
        assert sorted(node["required"]) == sorted(node["properties"])


def test_every_report_obeys_the_schema_and_reads_back(report):
    text = json.render(report)
    jsonschema.validate(standard.loads(text), json.schema(), cls=jsonschema.Draft202012Validator)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert "\x1b" not in text
    assert json.render(json.parse(text)) == text
    assert json.parse(text).exit_code == report.exit_code


def test_golden(reports, golden):
    golden("report.json", json.render(reports["full"], heatmaps=["ct-12"]))


def test_reading_back_keeps_the_records(reports):
    before = reports["full"].series[0]
    after = json.parse(json.render(reports["full"], heatmaps=["ct-12"])).series[0]
    assert (after.regions, after.reasons, after.name) == (before.regions, before.reasons, before.name)
    assert after.operating_point == before.operating_point
    assert after.probability == pytest.approx(before.probability, rel=1e-5)
    assert (after.provenance, after.files, after.shape) == (before.provenance, before.files, before.shape)


def test_the_heat_map_is_named_only_where_it_was_written(reports):
    text = json.render(reports["full"], heatmaps=["ct-12"])
    assert json.render(json.parse(text), heatmaps=["ct-12"]) == text
    first, second = standard.loads(text)["studies"][0]["series"]
    assert (first["heatmap"], second["heatmap"]) == ("ct-12.nii.gz", None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_null(make, value):
    result = make["no_evidence"](probability=value)
    report = Report(studies=(StudyResult("x", None, (result,)),))
    assert standard.loads(json.render(report))["studies"][0]["series"][0]["probability"] is None


def test_numbers_have_six_digits_and_numpy_ones_are_welcome(make):
    import numpy as np

    result = make["no_evidence"](probability=np.float64(1 / 3), shape=tuple(np.array([3, 4, 5])))
    tree = standard.loads(json.render(Report(studies=(StudyResult("x", None, (result,)),))))
    assert tree["studies"][0]["series"][0]["probability"] == 0.333333
    assert tree["studies"][0]["series"][0]["shape"] == [3, 4, 5]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema": "tamperscope/report/1"}', "[" * 100_000])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(UnreadableError):
        json.parse(text)


def test_another_schema_is_refused(reports):
    with pytest.raises(UnreadableError, match="report/2"):
        json.parse(json.render(replace(reports["empty"], schema="tamperscope/report/2")))
