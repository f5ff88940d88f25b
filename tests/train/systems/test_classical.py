from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("skl2onnx", reason="the extra [train] is not installed")

import sets
from tamperscope import phantom
from tamperscope.datasets import cases, table
from tamperscope.errors import InputError, UsageError, WeightsError
from tamperscope.evaluate.baseline import BaselineDetector, read_baseline
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.pictures import INPUT, NETWORK, OUTPUT
from tamperscope.train import baseline, classical, regions
from tamperscope.train.options import ClassicalInput, Forest, Svm, Tree
from tamperscope.train.recipe import Recipe, parse_recipe
from tamperscope.train.systems.classical import ClassicalStudent
from tamperscope.train.systems.student import Lesson

SIDE = 16
NETS = {
    "rbf": Svm(),
    "linear": Svm(kernel="linear", components=0),
    "few components": Svm(components=5),
    "pixels themselves": Svm(components=0),
    "forest": Forest(trees=20, depth=6),
    "tree": Tree(leaf=3),
}
SYSTEMS = {Svm: "svm", Forest: "forest", Tree: "tree"}


def toy(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of noise; in the forged half the middle is brighter."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.int8)
    seen = rng.integers(0, 200, (count, 1, SIDE, SIDE)).astype(np.float32)
    seen[labels == 1, :, 5:11, 5:11] += 40.0
    return seen / np.float32(255.0), labels


def learned(net, seed: int = 1):
    seen, labels = toy(0)
    return classical.fitted(net, seen.reshape(len(seen), -1), labels, seed)


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_it_learns_and_the_file_answers_as_scikit_learn_does(net):
    made, (seen, labels) = learned(net), toy(1)
    data, difference = classical.exported(made, NETWORK, INPUT, OUTPUT, (1, SIDE, SIDE), seen)
    answer = Networks({NETWORK: data}).run(NETWORK, {INPUT: seen}, OUTPUT)
    assert answer.shape == (len(seen), 1)
    found = answer[:, 0] > 0.0
    assert (found == labels).mean() > 0.7
    assert difference < 1e-4
    rows = seen.reshape(len(seen), -1)
    assert np.array_equal(found, made.predict(rows.astype(float) if isinstance(net, Svm) else rows) == 1)


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_the_same_seed_makes_the_same_file(net):
    seen, _ = toy(1, 8)
    files = [classical.exported(learned(net), NETWORK, INPUT, OUTPUT, (1, SIDE, SIDE), seen)[0] for _ in range(2)]
    assert files[0] == files[1]


def test_another_seed_grows_another_forest():
    seen, _ = toy(1, 8)
    files = [
        classical.exported(learned(NETS["forest"], seed), NETWORK, INPUT, OUTPUT, (1, SIDE, SIDE), seen)[0]
        for seed in (1, 2)
    ]
    assert files[0] != files[1]


def test_thousands_of_vectors_keep_their_precision():
    """Labels without sense: every row becomes a vector with the largest weight, and sums are long."""
    rng = np.random.default_rng(0)
    rows = rng.random((3000, SIDE), dtype=np.float32)
    made = classical.fitted(Svm(penalty=100.0, components=8), rows, rng.permutation(np.arange(3000) % 2), 1)
    assert len(made[-1].support_vectors_) > 2000
    assert classical.exported(made, NETWORK, INPUT, OUTPUT, (SIDE,), rows[:50])[1] < 1e-5


@pytest.mark.parametrize("net", [NETS["rbf"], NETS["forest"]], ids=["rbf", "forest"])
def test_a_file_that_answers_otherwise_is_refused(net, monkeypatch):
    monkeypatch.setattr(classical, "LARGEST_PART", 0.0)
    with pytest.raises(WeightsError, match=r"the scores of model\.onnx differ by .* from scikit-learn"):
        classical.exported(learned(net), NETWORK, INPUT, OUTPUT, (1, SIDE, SIDE), toy(1, 8)[0])


# --- from a manifest to a model ---


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return sets.forged_set(tmp_path_factory.mktemp("set"))


def recipe_of(listed, net, look: str = "pixels") -> Recipe:
    return Recipe("small", SYSTEMS[type(net)], net, ClassicalInput(look, SIDE), listed)


WHOLE = [(NETS["rbf"], "pixels"), (NETS["rbf"], "regions"), (NETS["forest"], "regions"), (NETS["tree"], "pixels")]


@pytest.mark.parametrize(("net", "look"), WHOLE)
def test_a_run_is_a_model_that_is_judged_as_any_other(listed, net, look, tmp_path):
    made = recipe_of(listed, net, look)
    baseline.train(made, tmp_path / "one", device="cpu")
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {"run.json", "model.onnx", "model.json"}
    model = read_baseline(tmp_path / "one")
    assert (model.system, model.look) == (made.system, {"pixels": "pictures"}.get(look, look))
    assert model.training["bytes"] == (tmp_path / "one" / NETWORK).stat().st_size
    assert model.training["difference_to_scikit_learn"] < 1e-4
    assert len(model.curve.authentic) == 4
    volume = phantom.chest((2, 96, 96), (2.5, 2.0, 2.0))
    before = volume.voxels.copy()
    evidence = BaselineDetector(tmp_path / "one", threads=1).detect(volume)
    assert np.isfinite(evidence.slice_scores).all()
    assert evidence.score == max(evidence.slice_scores)
    assert (evidence.heatmap is None) == (look == "pixels")
    assert np.array_equal(volume.voxels, before)


@pytest.mark.parametrize("look", ["pixels", "regions"])
def test_a_trial_says_how_long_it_would_take(listed, look):
    estimate = baseline.try_out(recipe_of(listed, NETS["tree"], look), device="cpu")
    assert 0.0 < estimate.minutes < 5.0
    assert estimate.series == 16


def lesson_of(listed) -> Lesson:
    return baseline.lesson(table.read(listed).entries, "cpu", None)


def student(recipe: Recipe) -> ClassicalStudent:
    return ClassicalStudent.of(recipe, lesson_of(recipe.manifest))


def test_rows_beyond_the_cap_are_left_out_half_of_each_class(listed):
    made = student(recipe_of(listed, Tree(most=6)))
    assert made.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert made.rows.shape == (6, SIDE, SIDE)
    again = student(recipe_of(listed, Tree(most=6)))
    assert np.array_equal(made.rows, again.rows)


def test_the_same_seed_learns_the_same_from_regions(listed):
    first, second = (student(recipe_of(listed, NETS["forest"], "regions")).model() for _ in range(2))
    assert first.system.networks.files == second.system.networks.files


def test_regions_lie_where_a_forgery_and_its_twin_differ(listed):
    groups = lesson_of(listed).taught
    cut = regions.load(groups, "train", regions.Regions(SIDE, (-1000.0, 400.0)), np.random.default_rng(0))
    forged_slices = cut.counts["forged_regions"]
    assert cut.counts == {
        "authentic_series": 4,
        "forged_series": 4,
        "authentic_regions": 16 + forged_slices,
        "forged_regions": forged_slices,
    }
    assert all(crop.shape == (SIDE, SIDE) for crop in [*cut.authentic, *cut.forged])
    same = [any(np.array_equal(crop, other) for other in cut.authentic) for crop in cut.forged]
    assert not any(same), "the crop of the twin is of the same place, and is not the same"
    for crop in cut.forged:
        shared = max((crop == other).mean() for other in cut.authentic)
        assert shared > 0.1, "outside of the mask they are alike"


def test_places_are_changed_voxels_or_what_is_stated(listed):
    groups = lesson_of(listed).taught
    case = cases.opened(next(group for group in groups if group[0].label == "forged"))
    drawn = list(regions.changed_places(case, 1, np.random.default_rng(0)))
    assert drawn
    assert all(case.mask[place] for place in drawn)
    stated = replace(case, mask=None, places=((0, 500, -3), (9, 1, 1)))
    assert list(regions.changed_places(stated, 1, np.random.default_rng(0))) == [(0, 95, 0)]
    assert list(regions.changed_places(replace(stated, places=()), 1, np.random.default_rng(0))) == []


def test_without_a_word_of_where_regions_are_refused(listed, monkeypatch):
    def blind(group):
        return replace(opened(group), mask=None, places=())

    opened = cases.opened
    monkeypatch.setattr(cases, "opened", blind)
    with pytest.raises(InputError, match=r"no forged series of the part train says where.*look at pixels"):
        student(recipe_of(listed, Tree(), "regions"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('system = "svm"\n[net]\nkernel = "cubic"', "kernel = 'cubic'.*rbf, linear"),
        ('system = "svm"\n[net]\npenalty = 0', "penalty = 0.*above 0"),
        ('system = "svm"\n[input]\nlook = "far"', "look = 'far'.*pixels, regions"),
        ('system = "svm"\n[input]\nlook = "regions"\nside = 30', "side = 30.*multiple of 4"),
        ('system = "tree"\n[input]\nwindow_hu = [1, 0]', "window_hu"),
        ('system = "tree"\n[net]\ntrees = 3', "unknown key 'trees'.*depth"),
        ('system = "forest"\n[net]\ntrees = 5000', "trees = 5000.*at most 1000"),
        ('system = "forest"\n[net]\nmost = 1', "most = 1.*at least 2"),
        ('system = "tree"\n[augment]\nflips = true', r"\[augment\] in the recipe of a tree"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(text, why):
    with pytest.raises(UsageError, match=why):
        parse_recipe(f'name = "x"\n{text}', "R.toml")
