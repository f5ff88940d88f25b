from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [train] is not installed")

from baselines import CURVE, SIDE, mean_model, mean_network
from tamperscope import phantom
from tamperscope.datasets.cases import Case
from tamperscope.errors import LimitError, WeightsError
from tamperscope.evaluate.baseline import MODEL, BaselineDetector, PlattCurve, as_tested, read_baseline
from tamperscope.evaluate.outcomes import outcome
from tamperscope.evaluate.systems.pictures import NETWORK
from tamperscope.pictures import PictureSpec, picture

CHEST = phantom.chest((11, 24, 24), (2.5, 15.0, 15.0))


@pytest.fixture
def folder(tmp_path):
    return mean_model(tmp_path)


def test_what_is_written_is_read(folder):
    model = read_baseline(folder)
    assert (model.name, model.system, model.modalities, model.manifest) == ("mean", "plain-cnn", ("CT",), "m" * 64)
    assert (model.look, model.settings) == ("pictures", {"side": SIDE, "window_hu": [-1000.0, 400.0], "clahe": False})
    assert model.curve == CURVE
    assert model.training == {"steps": 3}
    tree = json.loads((folder / MODEL).read_text())
    assert tree["threshold"]["probability"] == CURVE.operating_point(0.01).threshold


def test_the_score_is_the_highest_of_its_slices(folder):
    before = CHEST.voxels.copy()
    evidence = BaselineDetector(folder, threads=1).detect(CHEST)
    expected = [float(picture(plane, "CT", PictureSpec(SIDE)).mean()) for plane in CHEST.voxels]
    np.testing.assert_allclose(evidence.slice_scores, expected, atol=1e-6)
    assert evidence.score == max(evidence.slice_scores)
    assert (evidence.detector, evidence.heatmap, evidence.probability) == ("mean", None, None)
    assert np.array_equal(CHEST.voxels, before)
    assert BaselineDetector(folder, threads=1).detect(CHEST).slice_scores == evidence.slice_scores


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 2, 2)])
def test_constant_and_tiny_volumes_have_a_score_too(folder, shape):
    for value in (0.0, -1000.0):
        volume = replace(CHEST, voxels=np.full(shape, value, np.float32))
        assert np.isfinite(BaselineDetector(folder, threads=1).detect(volume).score)


def test_about_another_modality_it_has_no_answer(folder):
    evidence = BaselineDetector(folder).detect(phantom.radiograph((32, 32)))
    assert evidence.score is None
    assert evidence.reasons == ("the model was trained on CT, this is DX",)


def test_it_is_judged_as_any_other_model(folder):
    case = Case("c/p/s", "p", False, CHEST, np.zeros(CHEST.shape, bool), (), {"modality": "CT"})
    tested = as_tested(folder, threads=1)
    found = outcome(case, tested)
    assert found.score == float(CURVE.probability(tested.detector.detect(CHEST).score))
    assert found.verdict == "suspicious", "a mean is above 0, the highest authentic score"
    assert found.slice_truths == (False,) * 11
    assert len(found.slice_scores) == 11
    assert (found.marks, found.place) == ((), {})
    film = outcome(replace(case, volume=phantom.radiograph((32, 32)), mask=None), tested)
    assert (film.verdict, film.score) == ("inconclusive", None)


def test_a_threshold_is_measured_where_there_are_enough_authentic_series():
    assert not CURVE.measured(0.01)
    assert CURVE.measured(0.05)
    assert CURVE.told(0.05) == "0.05 false alarms per series among 20 authentic series"
    assert CURVE.told(0.01) == (
        "just above the highest of 20 authentic series: 0.01 false alarms per series would need 100"
    )
    scores = CURVE.probability(CURVE.authentic)
    for rate, alarms in ((0.01, 0), (0.05, 1), (0.1, 2), (0.25, 5)):
        assert (scores >= CURVE.operating_point(rate).threshold).sum() == alarms
    assert CURVE.operating_point(0.01).threshold > CURVE.operating_point(0.1).threshold


def test_the_curve_keeps_the_order_of_strong_scores_and_puts_the_classes_apart():
    curve = PlattCurve.fit([-3.0, -2.0, -2.5], [2.0, 3.0])
    assert curve.authentic == (-3.0, -2.5, -2.0)
    low, high = curve.probability([-2.5, 2.5])
    assert low < 0.3
    assert high > 0.7
    assert (np.diff(PlattCurve(1.0, 0.0, (0.0,)).probability([15.0, 20.0, 25.0, 30.0])) > 0).all()


# --- damage ---


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read"),
        ("{", "cannot read"),
        ("{}", "schema"),
        ('{"schema": "tamperscope/baseline/2"}', "not of schema tamperscope/baseline/1"),
        ('{"schema": "tamperscope/baseline/1"}', "cannot read.*input"),
        ("[]", "cannot read"),
        ("another look", "nothing looks at 'through glass'.*pictures"),
        ("no side", "the model's input is not understood: KeyError.'side'"),
        ("a file elsewhere", r"names '\.\./model\.onnx', which is no file of its folder"),
    ],
)
def test_a_model_that_says_nothing_is_refused(folder, tmp_path, text, why):
    known = (folder / MODEL).read_text()
    said = {
        "another look": known.replace('"look": "pictures"', '"look": "through glass"'),
        "no side": known.replace('"side"', '"edge"'),
        "a file elsewhere": known.replace('"model.onnx"', '"../model.onnx"'),
    }
    (tmp_path / MODEL).unlink()
    if text is not None:
        (tmp_path / MODEL).write_text(said.get(text, text))
    with pytest.raises(WeightsError, match=why):
        BaselineDetector(tmp_path)


def test_other_bytes_than_promised_and_a_missing_network_are_refused(folder):
    (folder / NETWORK).write_bytes(mean_network(8))
    with pytest.raises(WeightsError, match="the model promises"):
        BaselineDetector(folder)
    (folder / NETWORK).unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        BaselineDetector(folder)


def test_a_network_for_other_pictures_is_told(folder):
    data = mean_network(8)
    (folder / NETWORK).write_bytes(data)
    model = replace(read_baseline(folder), files={NETWORK: hashlib.sha256(data).hexdigest()})
    (folder / MODEL).write_text(model.to_json())
    with pytest.raises(LimitError, match=r"model\.onnx failed on pictures \(8, 1, 16, 16\)"):
        BaselineDetector(folder).detect(CHEST)
