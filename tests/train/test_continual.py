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
from tamperscope.train.augment import Augmentation  # noqa: E402
from tamperscope.train.continual import Compared, Plan, Rehearsal, compared, learn_on, refuse  # noqa: E402
from tamperscope.train.options import PictureInput, PlainCnn  # noqa: E402
from tamperscope.train.picture_cache import Shown, Slices  # noqa: E402
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


def pictures(level: int, count: int = 4) -> Slices:
    made = np.full((8, 8), level, np.uint8)
    return Slices(tuple(Shown(str(n), bool(n % 2), "CT", (made,), np.array([n % 2], np.int8)) for n in range(count)))


@pytest.mark.parametrize(("share", "known"), [(0.5, 4), (0.25, 2), (0.0, 0)])
def test_a_share_of_each_batch_is_rehearsed_and_half_of_it_forged(share, known):
    drawn, labels = Rehearsal(pictures(0), pictures(255), Augmentation(), share).draw(np.random.default_rng(1), 8)
    assert (drawn.shape, labels.shape) == ((8, 1, 8, 8), (8, 1))
    dark = drawn.max(axis=(1, 2, 3)) == 0.0
    assert int(dark.sum()) == known
    assert labels.sum() == 4
    assert labels[dark].sum() == known / 2


class Says:
    """A system whose logit is stated."""

    def __init__(self, logits):
        self.given = dict(logits)

    def logits(self, shown):
        return [self.given[int(picture[0, 0])] for picture in shown]


def series(number: int, forged: bool, scanner: str) -> Shown:
    made = (np.full((2, 2), number, np.uint8),)
    groups = {"generator": "gan" if forged else "none", "scanner": scanner}
    labels = np.array([int(forged)], np.int8)
    return Shown(str(number), forged, "CT", made, labels, patient=f"P{number}", groups=groups)


def test_each_old_group_is_compared_and_the_small_ones_are_not():
    held = [series(n, n < 6, "A") for n in range(12)] + [series(20, True, "B"), series(21, False, "B")]
    before = Says({each: float(each < 6 or each == 20) for each in range(22)})
    after = Says({each: float(each < 3 or each == 20) for each in range(22)})
    rows = compared(held, before, after)
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
    held = [series(n, n < 4, "A") for n in range(8)]
    same = Says(dict.fromkeys(range(8), 0.0))
    with pytest.raises(InputError, match="4 forged and 4 authentic series: too few"):
        compared(held, same, same)


def test_a_gain_is_no_loss():
    refuse([Compared("scanner", "A", 9, 9, 0.6, 0.9, (-0.4, -0.2))], 0.0)
