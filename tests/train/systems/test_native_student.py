"""The systems on untouched pixels by the common way: a manifest in, a run folder out, which is judged as any model."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

import sets  # noqa: E402
from tamperscope.datasets import cases, table  # noqa: E402
from tamperscope.evaluate.baseline import MODEL, BaselineDetector  # noqa: E402
from tamperscope.train import baseline, options  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402

TRAINING = Training(steps=4, batch=4, save_every=2, validate=4)
NATIVE = {
    "forensic-net": (options.ForensicNet(4), options.CropInput(32)),
    "mil-net": (options.MilNet(8, 16, 8), options.BagInput(32, 16, slices=4, drawn=2, patches=32)),
    "back-in-time": (options.BackInTimeNet(8), options.CandidateInput(32)),
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return sets.forged_set(tmp_path_factory.mktemp("set"), patients=4)


@pytest.mark.parametrize("system", NATIVE)
def test_a_run_leaves_a_model_that_answers(system, listed, tmp_path):
    recipe = Recipe("tiny", system, *NATIVE[system], manifest=listed, train=TRAINING)
    baseline.train(recipe, tmp_path, device="cpu")
    training = json.loads((tmp_path / MODEL).read_text())["training"]
    assert training["steps"] == 4
    assert training["difference_to_torch"] < 1e-4
    detector = BaselineDetector(tmp_path, threads=1)
    scores: dict[bool, list[float]] = {True: [], False: []}
    for group in (group for group in cases.by_series(table.read(listed).entries) if group[0].part == "calibrate"):
        case = cases.opened(group)
        before = case.volume.voxels.copy()
        evidence = detector.detect(case.volume)
        scores[case.forged].append(evidence.score)
        assert evidence.heatmap.shape == case.volume.shape
        assert evidence.heatmap.max() == pytest.approx(evidence.score, abs=1e-4)
        assert len(evidence.slice_scores) == len(case.volume.voxels)
        assert np.array_equal(case.volume.voxels, before)
    assert sorted(scores[False]) == pytest.approx(detector.baseline.curve.authentic, abs=1e-4)
