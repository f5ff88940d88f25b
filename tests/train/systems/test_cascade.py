from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

import sets  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.datasets import table  # noqa: E402
from tamperscope.errors import UsageError  # noqa: E402
from tamperscope.evaluate.baseline import MODEL, BaselineDetector, read_baseline  # noqa: E402
from tamperscope.evaluate.systems.cascade import SIDE, SLICES, WINDOWS  # noqa: E402
from tamperscope.train import baseline  # noqa: E402
from tamperscope.train.options import Cascade, CascadeInput  # noqa: E402
from tamperscope.train.recipe import Recipe, Training, parse_recipe  # noqa: E402
from tamperscope.train.regions import Regions  # noqa: E402
from tamperscope.train.systems.cascade import CascadeStudent  # noqa: E402
from tamperscope.train.systems.student import Lesson  # noqa: E402

TRAINING = Training(steps=120, batch=16, rate=5e-3, save_every=1000, validate=60)
NET = Cascade(width=4, dropout=0.0, windows=3, slices=2, components=8)
RECIPE = Recipe("small", "cascade", NET, CascadeInput(stride=16, levels=8), train=TRAINING)


def toy(seed: int, count: int = 40) -> Regions:
    """Windows of noise; forged ones hold a bright spot."""
    rng, found = np.random.default_rng(seed), Regions(SIDE, (-1000.0, 400.0))
    for number in range(2 * count):
        crop = rng.integers(60, 120, (SIDE, SIDE), dtype=np.uint8)
        if number % 2:
            row, column = rng.integers(8, 16, 2)
            crop[row : row + 6, column : column + 6] = 250
        (found.forged if number % 2 else found.authentic).append(crop)
    return found


def test_the_first_stage_learns_what_tells_windows_apart():
    student = CascadeStudent(RECIPE, Lesson((), ()), toy(0), toy(1))
    assert student.shown == 60
    losses = [student.classifier.step(n, np.random.default_rng(n))["loss"] for n in range(TRAINING.steps)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert student.classifier.look(TRAINING.steps) > 0.95


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return sets.forged_set(tmp_path_factory.mktemp("set"))


def test_a_run_goes_on_and_is_a_model_of_two_files(listed, tmp_path):
    train = replace(TRAINING, steps=4, save_every=2, validate=8)
    recipe = replace(RECIPE, manifest=listed, train=train)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    baseline.train(recipe, whole, device="cpu")
    for steps in (2, 4):
        baseline.train(replace(recipe, train=replace(train, steps=steps)), pieces, device="cpu")
    model = read_baseline(pieces)
    assert set(model.files) == {WINDOWS, SLICES}
    assert model.settings == {"window_hu": [-1000.0, 400.0], "stride": 16, "levels": 8}
    training = json.loads((pieces / MODEL).read_text())["training"]
    assert training["difference_to_torch"] < 1e-4
    assert training["difference_to_scikit_learn"] < 1e-4
    assert 0 < training["second_stage_slices"] <= 2 * 4 + 2 * 2 * 4
    assert training["slices"]["train"]["forged_regions"] % 3 == 0
    volume = phantom.chest((2, 96, 96), (2.5, 2.0, 2.0))
    answers = [BaselineDetector(folder, threads=1).detect(volume) for folder in (whole, pieces)]
    np.testing.assert_allclose(answers[0].slice_scores, answers[1].slice_scores, atol=1e-4)
    assert np.isfinite(answers[0].heatmap).all()


def test_the_same_seed_makes_the_same_files(listed):
    lesson = baseline.lesson(table.read(listed).entries, "cpu", None)
    first, second = (CascadeStudent.of(RECIPE, lesson).model().system.networks.files for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[net]\nwidth = 2", "width = 2.*at least 4"),
        ("[net]\nwindows = 0", "windows = 0"),
        ("[input]\nstride = 64", "stride = 64.*at most 32"),
        ("[input]\nlevels = 1", "levels = 1.*at least 2"),
        ("[input]\nside = 16", "unknown key 'side'.*stride"),
        ("[augment]\nflips = true", r"\[augment\] in the recipe of a cascade"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(text, why):
    with pytest.raises(UsageError, match=why):
        parse_recipe(f'name = "x"\nsystem = "cascade"\n{text}', "R.toml")
