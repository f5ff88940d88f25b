from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

import sets  # noqa: E402
from tamperscope import phantom  # noqa: E402
from tamperscope.errors import UsageError  # noqa: E402
from tamperscope.evaluate.baseline import MODEL, BaselineDetector, read_baseline  # noqa: E402
from tamperscope.evaluate.systems.features import described  # noqa: E402
from tamperscope.train import baseline  # noqa: E402
from tamperscope.train.options import FeatureNet, NativeInput  # noqa: E402
from tamperscope.train.recipe import Recipe, Training, parse_recipe  # noqa: E402
from tamperscope.train.systems.features import Described, FeatureStudent  # noqa: E402

TRAINING = Training(steps=150, batch=16, rate=3e-3, save_every=1000, validate=40)
RECIPE = Recipe("small", "feature-net", FeatureNet((16, 8, 4), 0.1), NativeInput(), train=TRAINING)
FILM = phantom.chest((1, 64, 64), (2.5, 4.0, 4.0))


def toy(seed: int, count: int = 40) -> list[Described]:
    """Series of a slice each; of the forged half the noise is stronger."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        noise = rng.normal(0.0, 20.0 + 6.0 * (number % 2), FILM.shape)
        volume = replace(FILM, voxels=(FILM.voxels + noise).astype(np.float32))
        labels = np.array([number % 2], np.int8)
        found.append(Described(bool(number % 2), "CT", described(volume, (-1000.0, 400.0)), labels))
    return found


@pytest.fixture(scope="module")
def parts():
    return toy(0), toy(1)


def learned(parts, recipe: Recipe = RECIPE) -> FeatureStudent:
    student = FeatureStudent(recipe, *parts)
    for number in range(recipe.train.steps):
        student.classifier.step(number, np.random.default_rng(number))
    student.classifier.look(recipe.train.steps)
    return student


def test_it_learns_from_texture_and_the_file_answers_as_torch_does(parts):
    student = learned(parts)
    assert float(student.classifier.standing.best) > 0.9
    model = student.model()
    assert model.facts["difference_to_torch"] < 1e-4
    authentic, forged = student.scores(model.system)
    assert np.mean(forged) > np.mean(authentic)
    with torch.inference_mode():
        for one, score in zip(student.held[::2], authentic, strict=True):
            assert float(student.classifier.best(torch.from_numpy(one.features)).max()) == pytest.approx(
                score, abs=1e-4
            )


def test_the_same_seed_makes_the_same_file(parts):
    short = replace(RECIPE, train=replace(TRAINING, steps=3))
    first, second = (learned(parts, short).model().system.networks.files for _ in range(2))
    assert first == second


def test_the_units_of_the_features_are_part_of_the_weights(parts):
    student = FeatureStudent(RECIPE, *parts)
    rows = torch.from_numpy(np.concatenate([one.features for one in parts[0]]))
    torch.testing.assert_close(student.classifier.best.middle, rows.mean(0))


def test_a_run_goes_on_and_is_a_model_that_is_judged_as_any_other(tmp_path):
    listed = sets.forged_set(tmp_path / "set")
    train = Training(steps=4, batch=4, save_every=2, validate=8)
    recipe = replace(RECIPE, manifest=listed, train=train)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    baseline.train(recipe, whole, device="cpu")
    for steps in (2, 4):
        baseline.train(replace(recipe, train=replace(train, steps=steps)), pieces, device="cpu")
    assert (read_baseline(whole).system, read_baseline(whole).look) == ("feature-net", "features")
    training = json.loads((pieces / MODEL).read_text())["training"]
    assert training["steps"] == 4
    assert training["slices"]["train"]["forged_series"] == 4
    assert np.isfinite(BaselineDetector(pieces, threads=1).detect(FILM).score)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[net]\nhidden = [4, 4]", "hidden = .*list of 3"),
        ("[net]\nhidden = [4, 4, 0]", "hidden = 0.*at least 1"),
        ("[input]\nside = 64", "unknown key 'side'.*window_hu"),
        ("[input]\nwindow_hu = [400, -1000]", "window_hu"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(text, why):
    with pytest.raises(UsageError, match=why):
        parse_recipe(f'name = "x"\nsystem = "feature-net"\n{text}', "R.toml")
