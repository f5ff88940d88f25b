from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

from safetensors.torch import load_file  # noqa: E402

import sets  # noqa: E402
from tamperscope.datasets import cases, table  # noqa: E402
from tamperscope.errors import InputError, TrainingError, UnreadableError, UsageError, WeightsError  # noqa: E402
from tamperscope.evaluate.baseline import MODEL, BaselineDetector, as_tested, read_baseline  # noqa: E402
from tamperscope.evaluate.outcomes import outcome  # noqa: E402
from tamperscope.evaluate.systems.pictures import NETWORK  # noqa: E402
from tamperscope.train import baseline, export, slices  # noqa: E402
from tamperscope.train.augment import Augmentation  # noqa: E402
from tamperscope.train.classifier import Classifier  # noqa: E402
from tamperscope.train.options import OwnNet, PictureInput, PictureNet, PlainCnn  # noqa: E402
from tamperscope.train.recipe import Recipe, Training, read_recipe  # noqa: E402
from tamperscope.train.systems import pictures  # noqa: E402

TRAINING = Training(steps=6, batch=4, rate=1e-3, save_every=2, patience=5, validate=8)
PLAIN = Recipe("tiny", "plain-cnn", PlainCnn(2, 0.5), PictureInput(32), train=TRAINING)
AUGMENT = Augmentation(10.0, flips=True, brightness=0.1, contrast=0.1, noise=0.02)


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Path:
    return sets.forged_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def recipe(listed) -> Recipe:
    return replace(PLAIN, manifest=listed, augment=AUGMENT)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory) -> Path:
    out, ticks = tmp_path_factory.mktemp("run") / "a", []
    baseline.train(recipe, out, device="cpu", tick=lambda *told: ticks.append(told))
    assert [told for told in ticks if told[0] == "training"] == [("training", done, 6) for done in range(6)]
    return out


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "record.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_leaves_a_model_and_its_record(run, listed):
    names = {path.name for path in run.iterdir()} - {"code.diff"}  # where the tests run from a changed checkout
    left = {"run.json", "record.jsonl", "curves.png", "last.safetensors", "best.safetensors"}
    assert names == {*left, "model.onnx", "model.json"}
    model = json.loads((run / MODEL).read_text(encoding="utf-8"))
    assert model["schema"] == "tamperscope/baseline/1"
    assert model["input"] == {
        "look": "pictures",
        "side": 32,
        "window_hu": [-1000.0, 400.0],
        "clahe": False,
        "modalities": ["CT"],
    }
    training = model["training"]
    assert training["steps"] == 6
    assert training["difference_to_torch"] < 1e-4
    assert training["recipe"]["train"]["rate"] == 1e-3
    assert training["slices"]["train"]["forged_series"] == 4
    assert training["slices"]["train"]["forged_slices"] > 0
    assert model["threshold"]["how"].startswith("just above the highest of 4 authentic series: 0.01 false alarms")
    settings, *saves = rows(run)
    assert settings["settings"]["recipe"]["name"] == "tiny"
    assert [row["step"] for row in saves] == [2, 4, 6]
    assert all(0.0 <= row["auroc"] <= 1.0 for row in saves)
    best = max(saves, key=lambda row: row["auroc"])
    assert (training["best_step"], training["best"]["auroc"]) == (best["step"], best["auroc"])
    text = (run / MODEL).read_text() + (run / "run.json").read_text() + (run / "record.jsonl").read_text()
    assert str(listed.parent) not in text


def test_the_detector_answers_as_the_best_weights_do_and_is_judged_as_any_other(run, recipe):
    detector = BaselineDetector(run, threads=1)
    held = [group for group in cases.by_series(table.read(recipe.manifest).entries) if group[0].part == "calibrate"]
    net = pictures.build(recipe).eval()
    net.load_state_dict(load_file(run / "best.safetensors"))
    tested, answers = as_tested(run, threads=1), []
    for group in held:
        case = cases.opened(group)
        evidence = detector.detect(case.volume)
        assert evidence.heatmap is None
        assert evidence.probability is None
        assert evidence.score == max(evidence.slice_scores)
        made = slices.shown(case, pictures.spec_of(recipe))
        seen = torch.from_numpy(slices.Slices((made,)).unit([(0, k) for k in range(len(made.pictures))]))
        with torch.inference_mode():
            np.testing.assert_allclose(net(seen).flatten().numpy(), evidence.slice_scores, atol=1e-4)
        answers.append(outcome(case, tested))
    assert {one.forged for one in answers} == {True, False}
    for one in answers:
        assert 0.0 < one.score < 1.0
        assert one.verdict == ("suspicious" if one.score >= tested.threshold else "no_evidence")
        assert len(one.slice_scores) == len(one.slice_truths) == 4
    assert not any(one.verdict == "suspicious" for one in answers if not one.forged), "the threshold is above these"


def test_a_run_cut_into_pieces_ends_with_the_same_weights(run, recipe, tmp_path):
    for steps in (1, 3):
        with pytest.raises(RuntimeError, match="cut"):
            cut(replace(recipe, train=replace(TRAINING, save_every=2)), tmp_path, steps)
    baseline.train(recipe, tmp_path, device="cpu")
    one, other = (load_file(folder / "last.safetensors") for folder in (run, tmp_path))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one if key != "seconds")
    assert read_baseline(tmp_path).sha256 == read_baseline(run).sha256


def cut(recipe: Recipe, out: Path, steps: int) -> None:
    """As after a kill: the process ends within a step, and what is on disk is what the step before left."""
    plain = Classifier.step

    def step(self, number, rng):
        if number == steps:
            raise RuntimeError("cut")
        return plain(self, number, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "step", step)
        baseline.train(recipe, out, device="cpu")


KILLED = """
import sys
from pathlib import Path
from tamperscope.train import baseline
from tamperscope.train.recipe import read_recipe
recipe, out = read_recipe(Path(sys.argv[1])), Path(sys.argv[2])
baseline.train(recipe, out, device="cpu", say=lambda line: print(line, flush=True))
"""


def test_a_killed_process_goes_on_and_comes_to_the_same_weights(recipe, tmp_path):
    path, out, whole = tmp_path / "R.toml", tmp_path / "killed", tmp_path / "whole"
    path.write_text(
        f'name = "tiny"\nsystem = "plain-cnn"\n[data]\nmanifest = "{recipe.manifest}"\n[net]\nwidth = 2\n[input]\n'
        "side = 32\n[train]\nsteps = 150\nbatch = 4\nsave_every = 10\nvalidate = 8\npatience = 2000\n"
    )
    command = [sys.executable, "-c", KILLED, str(path), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("step 10,")
        os.kill(process.pid, signal.SIGKILL)
    assert not (out / MODEL).exists()
    for folder in (out, whole):
        baseline.train(read_recipe(path), folder, device="cpu")
    assert rows(whole)[0]["from"] == 0
    assert [row["from"] for row in rows(out) if "from" in row][1] >= 10
    one, other = (load_file(folder / "last.safetensors") for folder in (out, whole))
    assert all(torch.equal(one[key], other[key]) for key in one if key != "seconds")


def test_patience_ends_a_run_and_stays_ended(recipe, tmp_path):
    still = replace(recipe, train=replace(TRAINING, rate=1e-30, steps=40, patience=2))
    for _ in range(2):
        baseline.train(still, tmp_path, device="cpu")
        training = json.loads((tmp_path / MODEL).read_text())["training"]
        assert (training["steps"], training["best_step"]) == (6, 2)


def test_a_loss_that_is_no_number_stops_loudly_and_leaves_the_last_checkpoint(recipe, tmp_path, monkeypatch):
    plain, calls = slices.Batches.draw, []

    def draw(self, rng, count):
        calls.append(count)
        pictures, truths = plain(self, rng, count)
        return pictures * np.float32(np.nan if len(calls) == 4 else 1.0), truths

    monkeypatch.setattr(slices.Batches, "draw", draw)
    with pytest.raises(TrainingError, match=r"the loss of step 4 is nan.*lower the rate"):
        baseline.train(recipe, tmp_path, device="cpu")
    kept = load_file(tmp_path / "last.safetensors")
    assert int(kept["step"]) == 2
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert not (tmp_path / MODEL).exists()


# --- what is refused before anything is learned ---


def test_one_class_only_is_refused(listed, recipe, tmp_path):
    entries = [entry for entry in table.read(listed).entries if entry.label == "authentic"]
    table.write(listed.with_name("one.csv"), entries, listed.parent)
    only = replace(recipe, manifest=listed.with_name("one.csv"))
    with pytest.raises(InputError, match="no series of the part train is forged"):
        baseline.train(only, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_leaking_manifest_is_refused_unless_allowed(listed, recipe, tmp_path):
    entries = [replace(entry, patient="one") for entry in table.read(listed).entries]
    table.write(listed.with_name("leaking.csv"), entries, listed.parent)
    leaking = replace(recipe, manifest=listed.with_name("leaking.csv"), train=replace(TRAINING, steps=1))
    with pytest.raises(InputError, match=r"the split leaks.*patient one"):
        baseline.train(leaking, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    assert baseline.train(leaking, tmp_path / "run", device="cpu", allow_leaks=True).exists()


def test_a_folder_of_another_run_is_refused(run, recipe):
    with pytest.raises(UsageError, match="another recipe or manifest: augment"):
        baseline.train(replace(recipe, augment=Augmentation()), run, device="cpu")


def test_a_folder_whose_note_is_torn_is_refused(recipe, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UnreadableError, match=r"run\.json is damaged"):
        baseline.train(recipe, tmp_path, device="cpu")


def test_a_damaged_checkpoint_is_told(recipe, tmp_path):
    baseline.train(replace(recipe, train=replace(TRAINING, steps=1)), tmp_path, device="cpu")
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match=r"last\.safetensors is damaged"):
        baseline.train(recipe, tmp_path, device="cpu")


# --- the rest ---


def held_of(recipe: Recipe) -> slices.Slices:
    return slices.load(
        baseline.lesson(baseline.checked(recipe), "cpu", None).held, "calibrate", pictures.spec_of(recipe)
    )


def test_a_file_that_answers_otherwise_than_torch_is_refused(recipe, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_PART", 0.0)
    with pytest.raises(WeightsError, match=r"model\.onnx differ by"):
        pictures.exported(pictures.build(recipe), pictures.spec_of(recipe), held_of(recipe))


def test_a_backbone_with_attention_is_exported_too(recipe):
    chosen = replace(recipe, system="picture-net", net=PictureNet("efficientnet-b0", 0.125, 0.25, dense=(8,)))
    data, difference = pictures.exported(pictures.build(chosen), pictures.spec_of(chosen), held_of(recipe))
    assert len(data) > 1000
    assert difference < 1e-4


def test_a_trial_says_how_long_it_would_take_and_writes_nothing(recipe, listed):
    before = sorted(listed.parent.rglob("*"))
    estimate = baseline.try_out(recipe, device="cpu")
    assert 0.0 < estimate.minutes < 5.0
    assert 50.0 < estimate.memory_mib < 20_000.0
    assert estimate.series == 16
    assert "for 16 series, on cpu" in str(estimate)
    assert sorted(listed.parent.rglob("*")) == before


def test_the_network_of_another_run_is_refused(run, tmp_path):
    for name in (MODEL, NETWORK):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / NETWORK).write_bytes(b"another")
    with pytest.raises(WeightsError, match="the model promises"):
        BaselineDetector(tmp_path)


# --- folders, disks and files that fail ---


def test_a_folder_that_cannot_be_is_told_before_anything_is_read(recipe, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(baseline, "table", None)
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match="cannot write the run folder"):
            baseline.train(recipe, out, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pretrained_weights_that_are_missing_are_told_before_anything_is_read(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline.table, "read", None)
    net = PictureNet("resnet50", 0.125, 0.25, pretrained=tmp_path / "absent.safetensors")
    chosen = replace(recipe, system="picture-net", net=net)
    for started in (
        lambda: baseline.train(chosen, tmp_path / "run", device="cpu"),
        lambda: baseline.try_out(chosen, device="cpu"),
    ):
        with pytest.raises(WeightsError, match=r"pretrained names .*absent\.safetensors, and there is no such file"):
            started()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
from tamperscope.errors import UsageError
from tamperscope.train import baseline
from tamperscope.train.recipe import read_recipe
plain = baseline.fit
def fit(*arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    return plain(*arguments, **options)
baseline.fit = fit
try:
    baseline.train(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), device="cpu")
except UsageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is set as Linux has it")
@pytest.mark.parametrize(("limit", "which"), [(8000, "last.safetensors"), (10, "record.jsonl")])
def test_a_disk_that_is_full_is_told_and_the_run_goes_on_when_it_is_not(recipe, tmp_path, limit, which):
    path, out = tmp_path / "R.toml", tmp_path / "run"
    path.write_text(
        f'name = "tiny"\nsystem = "plain-cnn"\n[data]\nmanifest = "{recipe.manifest}"\n[net]\nwidth = 4\n[input]\n'
        "side = 32\n[train]\nsteps = 4\nbatch = 4\nsave_every = 2\nvalidate = 8\n"
    )
    command = [sys.executable, "-c", FULL, str(path), str(out), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"cannot write {out / which}" in done.stdout
    assert "make room" in done.stdout
    assert not any(path.suffix in (".part", ".onnx") or path.name == MODEL for path in out.iterdir())
    assert baseline.train(read_recipe(path), out, device="cpu").exists()
    assert [row["step"] for row in rows(out) if "step" in row] == [2, 4]


OWN = """
import torch

def two(side):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 2))

def text(side):
    class Text(torch.nn.Module):
        def forward(self, x):
            return "suspicious"
    return Text()

def fails(side):
    return torch.nn.Linear(7, 1)

def typo(side):
    return torch.nn.Linear(sdie, 1)
"""


@pytest.mark.parametrize(
    ("build", "why"),
    [
        ("two", r"gives \(2, 2\) for 2 inputs.*one logit each"),
        ("text", "gives str for 2 inputs"),
        ("fails", "the network fails on two empty pictures"),
        ("absent", "makes no network"),
        ("typo", "makes no network"),
    ],
)
def test_a_network_of_ones_own_that_cannot_do_is_told_before_a_picture_is_read(
    recipe, tmp_path, build, why, monkeypatch
):
    (tmp_path / f"own_{build}.py").write_text(OWN)
    monkeypatch.setattr(slices, "load", None)
    chosen = replace(recipe, system="own", net=OwnNet(f"own_{build}:{build}"), folder=tmp_path)
    with pytest.raises(UsageError, match=why):
        baseline.train(chosen, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_backbone_that_is_none_is_told_before_the_manifest_is_read(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "table", None)
    chosen = replace(recipe, system="picture-net", net=PictureNet("efficientnet-b9"))
    with pytest.raises(UsageError, match="no backbone 'efficientnet-b9'"):
        baseline.train(chosen, tmp_path / "run", device="cpu")


def test_a_file_whose_answers_have_another_shape_than_torchs_is_refused():
    class Turned(torch.nn.Module):
        """One row a picture in torch; the exported file takes two pictures for granted."""

        def forward(self, x):
            return x.mean((1, 2, 3))[:, None] if torch.compiler.is_exporting() else x.mean((1, 2, 3))[None]

    seen = {"pictures": np.zeros((2, 1, 4, 4), np.float32)}
    with pytest.raises(WeightsError, match=r"x\.onnx gives \(2, 1\), torch \(1, 2\)"):
        export.checked(Turned(), "x.onnx", {"pictures": torch.zeros(2, 1, 4, 4)}, "logits", [seen])


def test_what_torch_cannot_export_is_told():
    class Looping(torch.nn.Module):
        def forward(self, x):
            while x.sum() > 1.0:
                x = x / 2.0
            return x

    with pytest.raises(WeightsError, match="torch cannot export the network"):
        export.checked(Looping(), "x.onnx", {"pictures": torch.ones(2, 1)}, "logits", [])
