from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

from safetensors.torch import load_file  # noqa: E402

import sets  # noqa: E402
from tamperscope.datasets import table  # noqa: E402
from tamperscope.errors import InputError, TrainingError, UsageError, WeightsError  # noqa: E402
from tamperscope.evaluate.baseline import BaselineDetector, read_baseline  # noqa: E402
from tamperscope.train import baseline, continual  # noqa: E402
from tamperscope.train.classifier import Classifier  # noqa: E402
from tamperscope.train.continual import Compared, Plan, Seen, compared, learn_on, refuse  # noqa: E402
from tamperscope.train.options import ClassicalInput, FeatureNet, NativeInput, PictureInput, PlainCnn, Svm  # noqa: E402
from tamperscope.train.recipe import Recipe, Training, parse_recipe, recorded  # noqa: E402

TRAINING = Training(steps=4, batch=4, rate=1e-3, save_every=2, validate=8)
PLAIN = Recipe("tiny", "plain-cnn", PlainCnn(2, 0.0), PictureInput(32), train=TRAINING)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory) -> tuple[Path, Path]:
    """What was learned from, and new forgeries of other patients."""
    listed = sets.forged_set(tmp_path_factory.mktemp("set"), 18)
    entries = table.read(listed).entries
    parts = {part: sorted({one.patient for one in entries if one.part == part}) for part in ("train", "calibrate")}
    late = {patient for patients in parts.values() for patient in patients[5:]}
    new = [
        replace(one, generator="poisson" if one.generator else "") if one.patient in late else None for one in entries
    ]
    table.write(listed.with_name("old.csv"), [one for one in entries if one.patient not in late], listed.parent)
    table.write(listed.with_name("new.csv"), [one for one in new if one is not None], listed.parent)
    return listed.with_name("old.csv"), listed.with_name("new.csv")


@pytest.fixture(scope="module")
def earlier(manifests, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("earlier") / "run"
    baseline.train(replace(PLAIN, manifest=manifests[0]), run, device="cpu")
    return run


def test_it_goes_on_from_the_best_weights_and_records_every_old_group(earlier, manifests, tmp_path):
    old, fresh = manifests
    said = []
    model = learn_on(earlier, [old], fresh, tmp_path / "run", Plan(margin=1.0), device="cpu", say=said.append)
    found = read_baseline(model.parent)
    told = found.training["learned_on"]
    assert told["from"] == read_baseline(earlier).sha256
    assert (told["rehearsal"], told["margin"], told["not_judged_below"]) == (0.5, 1.0, 5)
    assert told["old_groups"][0].keys() == {
        "group", "value", "forged", "authentic", "before", "after", "loss_interval",
    }  # fmt: skip
    assert {row["group"] for row in told["old_groups"]} >= {"all", "generator", "modality"}
    assert all(min(row["forged"], row["authentic"]) >= 5 for row in told["old_groups"])
    assert found.training["recipe"]["train"]["rate"] == pytest.approx(1e-4)
    assert found.manifest != read_baseline(earlier).manifest
    slices = found.training["slices"]["train"]
    assert slices["forged_series"] == read_baseline(earlier).training["slices"]["train"]["forged_series"] + 4
    assert any("old groups compared" in line for line in said)
    first = load_file(earlier / "best.safetensors")
    if found.training["best_step"] == 0:
        kept = load_file(tmp_path / "run" / "best.safetensors")
        assert all(torch.equal(first[key], kept[key]) for key in first)


def test_new_weights_that_forget_are_refused_and_no_model_is_written(earlier, manifests, tmp_path, monkeypatch):
    old, fresh = manifests
    plain = continual.compared

    def forgetful(*arguments):
        return [replace(row, before=0.9, after=0.5) for row in plain(*arguments)]

    monkeypatch.setattr(continual, "compared", forgetful)
    with pytest.raises(
        TrainingError, match=r"refused: on \w+ .* AUROC falls from 0\.900 to 0\.500.*0\.02 is the margin"
    ):
        learn_on(earlier, [old], fresh, tmp_path, device="cpu")
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & {"model.json", "model.onnx"}
    assert json.loads((tmp_path / "compared.json").read_text())[0]["after"] == 0.5
    monkeypatch.setattr(continual, "compared", plain)
    assert learn_on(earlier, [old], fresh, tmp_path, Plan(margin=1.0), device="cpu").exists(), "the run goes on"


def test_a_system_that_sees_no_pictures_learns_on_as_well(manifests, tmp_path):
    recipe = Recipe("texture", "feature-net", FeatureNet((8, 4, 4), 0.0), NativeInput(), train=TRAINING)
    old, fresh = manifests
    baseline.train(replace(recipe, manifest=old), tmp_path / "first", device="cpu")
    model = learn_on(tmp_path / "first", [old], fresh, tmp_path / "second", Plan(margin=1.0), device="cpu")
    rows = read_baseline(model.parent).training["learned_on"]["old_groups"]
    assert {row["group"] for row in rows} >= {"all", "generator"}
    assert read_baseline(model.parent).system == "feature-net"


def test_what_is_fitted_at_once_does_not_learn_on(manifests, tmp_path):
    recipe = Recipe("vectors", "svm", Svm(), ClassicalInput(), manifest=manifests[0])
    baseline.train(recipe, tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="a svm does not learn on: all or a part of it is fitted at once"):
        learn_on(tmp_path / "run", [manifests[0]], manifests[1], tmp_path / "more", device="cpu")


def test_another_manifest_than_that_of_the_earlier_training_is_refused(earlier, manifests, tmp_path):
    with pytest.raises(UsageError, match="was trained on another manifest than --data"):
        learn_on(earlier, [manifests[1]], manifests[1], tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_earlier_weights_that_are_missing_or_others_are_told(earlier, manifests, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("model.json", "model.onnx"):
        (copy / name).write_bytes((earlier / name).read_bytes())
    with pytest.raises(WeightsError, match=r"has no best\.safetensors"):
        learn_on(copy, [manifests[0]], manifests[1], tmp_path / "run", device="cpu")
    (copy / "best.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match=r"best\.safetensors is not what .* promises"):
        learn_on(copy, [manifests[0]], manifests[1], tmp_path / "run", device="cpu")


def test_a_recipe_comes_back_from_its_record(earlier):
    text = 'name = "a"\nsystem = "picture-net"\n[net]\nbackbone = "resnet50"\npretrained = "x.safetensors"\n'
    recipe = parse_recipe(text, "R.toml")
    again = recorded(json.loads(json.dumps(recipe.to_json())), "record")
    assert again == replace(recipe, net=replace(recipe.net, pretrained=None))
    assert continual.recipe_of(BaselineDetector(earlier, 1)) == replace(PLAIN, train=replace(TRAINING, rate=1e-4))


class Fixed:
    """A student whose batches and looks are a number, and whose network is one weight."""

    def __init__(self, level: float, look: float):
        self.counts = {"train": {"forged_series": 3}}
        self.nbytes, self.shown, self.modalities = 10, 4, ("CT",)
        self.drawn = 0
        net = torch.nn.Linear(1, 1, bias=False)
        self.classifier = Classifier(net, lambda net, _: self.batch(net, level), lambda _: look, TRAINING)

    def batch(self, net, level):
        self.drawn += 1
        return (net.weight - level).square().sum()

    def model(self):
        return float(self.classifier.best.weight)

    def scores(self, _):
        return [0.0] * self.shown, [1.0] * self.shown


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_a_share_of_the_batches_is_rehearsed_and_a_look_is_the_mean_of_both(share):
    old, new = Fixed(0.0, 0.6), Fixed(5.0, 0.8)
    both = continual.Continued(old, new, {"weight": torch.tensor([[2.0]])}, share)
    assert float(both.classifier.standing.best) == pytest.approx(0.7)
    for number in range(200):
        both.classifier.step(number, np.random.default_rng(number))
    assert old.drawn == pytest.approx(200 * share, abs=20)
    assert old.drawn + new.drawn == 200
    assert both.counts == {"train": {"forged_series": 6}}
    assert (both.nbytes, both.shown, both.modalities) == (20, 8, ("CT",))
    assert both.model() == 2.0, "no look was better than the first, so the earlier weights stay"
    assert [len(side) for side in both.scores(None)] == [8, 8]


def test_weights_of_another_network_are_told():
    with pytest.raises(WeightsError, match="of another network than their recipe"):
        continual.Continued(Fixed(0.0, 0.5), Fixed(0.0, 0.5), {"weight": torch.zeros(2, 2)}, 0.5)


def series(number: int, forged: bool, scanner: str, before: float, after: float) -> Seen:
    groups = {"generator": "gan" if forged else "none", "scanner": scanner}
    return Seen(f"P{number}", forged, groups, before, after)


def test_each_old_group_is_compared_and_the_small_ones_are_not():
    held = [series(n, n < 6, "A", float(n < 6), float(n < 3)) for n in range(12)]
    held += [series(20, True, "B", 1.0, 1.0), series(21, False, "B", 0.0, 0.0)]
    rows = compared(held)
    assert {(row.group, row.value) for row in rows} == {("all", "series"), ("generator", "gan"), ("scanner", "A")}
    assert all(row.before == 1.0 for row in rows)
    (scanner,) = [row for row in rows if row.group == "scanner"]
    assert (scanner.forged, scanner.authentic) == (6, 6)
    assert scanner.after == pytest.approx(0.75)
    assert rows[0].loss == max(row.loss for row in rows)
    low, high = scanner.loss_interval
    assert 0.0 <= low < scanner.loss < high < 0.6
    with pytest.raises(
        TrainingError, match=r"scanner A AUROC falls from 1\.000 to 0\.750.*6 forged, 6 authentic.*3 of 3"
    ):
        refuse(rows, 0.02)
    refuse(rows, 0.25)


def test_without_a_group_that_is_large_enough_nothing_can_be_promised():
    with pytest.raises(InputError, match="4 forged and 4 authentic series: too few"):
        compared([series(n, n < 4, "A", 0.0, 0.0) for n in range(8)])


def test_a_gain_is_no_loss():
    refuse([Compared("scanner", "A", 9, 9, 0.6, 0.9, (-0.4, -0.2))], 0.0)
