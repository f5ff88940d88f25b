from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

import sets  # noqa: E402
from tamperscope.datasets import cases, table  # noqa: E402
from tamperscope.errors import InputError, MissingExtraError, UsageError, WeightsError  # noqa: E402
from tamperscope.evaluate.baseline import BaselineDetector, as_tested  # noqa: E402
from tamperscope.evaluate.outcomes import outcome  # noqa: E402
from tamperscope.train import baseline  # noqa: E402
from tamperscope.train.augment import Augmentation  # noqa: E402
from tamperscope.train.boxes import around  # noqa: E402
from tamperscope.train.classifier import Classifier  # noqa: E402
from tamperscope.train.options import PictureInput, Yolo  # noqa: E402
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE, Shown, Slices  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402
from tamperscope.train.systems import yolo  # noqa: E402

SIDE = 64
INSTALLED = importlib.util.find_spec("ultralytics") is not None  # not imported here: that would leave traces
TRAINING = Training(steps=100, batch=8, rate=1e-2, save_every=1000, validate=16)
SMALL = Recipe("tiny", "yolo", Yolo("yolov5nu", width=0.5, depth=0.1), PictureInput(SIDE), train=TRAINING)


def test_without_the_library_the_extra_is_named():
    if INSTALLED:
        pytest.skip("the extra [yolo] is installed")
    with pytest.raises(MissingExtraError, match=r"ultralytics is not installed.*tamperscope\[yolo\]"):
        baseline.checked(replace(SMALL, manifest=Path("nowhere.csv")))
    with pytest.raises(MissingExtraError, match=r"ultralytics is not installed.*tamperscope\[yolo\]"):
        yolo.build(SMALL)


def test_a_side_or_an_augmentation_that_boxes_do_not_survive_is_refused():
    assert yolo.spec_of(replace(SMALL, input=PictureInput())).side == 640
    with pytest.raises(UsageError, match=r"side = 100.*steps of 32"):
        yolo.spec_of(replace(SMALL, input=PictureInput(100)))
    with pytest.raises(UsageError, match=r"rotation_degrees = 10 for a yolo.*no exact box"):
        yolo.spec_of(replace(SMALL, augment=Augmentation(rotation_degrees=10.0)))


def test_a_forged_slice_without_a_box_teaches_nothing():
    (one,) = squares(0, 2).series[1:]
    none = one.boxes[0][:0]
    series = replace(
        one, pictures=3 * one.pictures, labels=np.array([1, 1, 0], np.int8), boxes=(none, *one.boxes, none)
    )
    assert yolo.placed(Slices((series,)), "train").series[0].labels.tolist() == [UNSURE, FORGED, AUTHENTIC]
    with pytest.raises(InputError, match=r"nobody says where the forged slices of the part train.*masks"):
        yolo.placed(Slices((replace(one, boxes=(none,)),)), "train")


@pytest.fixture(scope="module")
def library() -> yolo.Library:
    if not INSTALLED:
        pytest.skip("the extra [yolo] is not installed")
    return yolo.library()


def squares(seed: int, count: int = 16) -> Slices:
    """Noise; in the forged half there is a bright square somewhere, with its box."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        picture, mask = rng.integers(60, 120, (SIDE, SIDE), dtype=np.uint8), np.zeros((SIDE, SIDE), bool)
        if number % 2:
            row, column = rng.integers(4, SIDE - 24, 2)
            mask[row : row + 20, column : column + 20] = True
            picture[mask] = 250
        labels = np.array([number % 2], np.int8)
        found.append(Shown(str(number), bool(number % 2), "CT", (picture,), labels, (around(mask),)))
    return Slices(tuple(found))


def student(recipe: Recipe = SMALL) -> yolo.YoloStudent:
    return yolo.YoloStudent(recipe, squares(0), squares(1))


def state(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


@pytest.fixture(scope="module")
def taught(library) -> yolo.YoloStudent:
    assert library.version
    made = student(replace(SMALL, augment=Augmentation(flips=True, noise=0.02)))
    losses = [made.classifier.step(n, np.random.default_rng(n))["loss"] for n in range(TRAINING.steps)]
    # It rises at first: while no box lies right, nothing is asked of its sides.
    assert np.mean(losses[-10:]) < 0.7 * max(losses)
    made.classifier.look(TRAINING.steps)
    return made


def test_it_learns_where_squares_are_and_answers_alike_as_a_file(taught):
    assert float(taught.classifier.standing.best) > 0.8
    model = taught.model()
    assert model.facts["difference_to_torch"] < 1e-4
    authentic, forged = taught.scores(model.system)
    assert np.mean(forged) > np.mean(authentic)
    places = [(number, 0) for number in range(16)]
    expected = taught.logits(taught.classifier.best, places)
    shown = [one.pictures[0] for one in taught.held.series]
    np.testing.assert_allclose(model.system.logits(shown), expected, atol=1e-3)
    hits = [
        boxes[0][0] < box[[0, 2]].mean() < boxes[0][2] and boxes[0][1] < box[[1, 3]].mean() < boxes[0][3]
        for one, (boxes, _) in zip(taught.held.series, model.system.found(shown), strict=True)
        for box in one.boxes[0]
    ]
    assert np.mean(hits) > 0.5, "its strongest box holds the middle of the square"


def test_the_file_decodes_boxes_as_the_library_does(taught):
    """The library gives centres and sizes in pixels, and confidences."""
    net, pictures = taught.classifier.best, torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = yolo.Deployed(net, SIDE).eval()(pictures)
        theirs, _ = net(pictures)
    centre, size = theirs[:, :2] / SIDE, theirs[:, 2:4] / SIDE
    torch.testing.assert_close(ours[:, :2], centre - size / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[:, 2:4], centre + size / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[:, 4].sigmoid(), theirs[:, 4], atol=1e-6, rtol=1e-4)


@pytest.mark.usefixtures("library")
def test_the_same_step_from_the_same_weights_ends_alike():
    found = []
    for before in (0, 17):
        made = student()
        torch.rand(before)  # whatever happened to torch's own generator
        made.classifier.step(0, np.random.default_rng(3))
        found.append(state(made.classifier.net))
    assert torch.equal(*found)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("model", ["yolov3", "yolov5nu", "yolov5su", "yolov8x"])
def test_width_and_depth_make_every_model_smaller(model):
    nets = [yolo.build(replace(SMALL, net=Yolo(model, width, depth))) for width, depth in ((0.125, 0.5), (0.125, 0.1))]
    sizes = [sum(one.numel() for one in net.parameters()) for net in nets]
    assert sizes[1] <= sizes[0] < 3e6
    assert nets[0].eval()(torch.zeros(1, 1, SIDE, SIDE))[0].shape == (1, 5, 84)


def test_as_published_a_model_is_as_large_as_the_library_says(library):
    """2.5 million weights with one class: 2.6 with 80 (its page on YOLOv5u)."""
    assert sum(one.numel() for one in yolo.build(replace(SMALL, net=Yolo("yolov5nu"))).parameters()) == 2_507_507
    largest = library.network(yolo._table(Yolo("yolov8x")), ch=3, nc=80, verbose=False)
    assert sum(one.numel() for one in largest.parameters()) == 68_229_648  # the head of its table says so


def test_weights_to_start_from_must_be_there_and_fit(library, tmp_path):
    path = tmp_path / "w.safetensors"
    chosen = replace(SMALL, net=replace(SMALL.net, pretrained=path))
    with pytest.raises(WeightsError, match=r"cannot read the weights .*w\.safetensors"):
        yolo.build(chosen)
    save_file({"model.0.conv.weight": torch.zeros(8, 3, 6, 6)}, path)
    with pytest.raises(WeightsError, match=r"w\.safetensors do not fit"):
        yolo.build(chosen)
    donor = library.network(yolo._table(SMALL.net), ch=3, nc=80, verbose=False).state_dict()
    save_file({key: value.contiguous() for key, value in donor.items()}, path)
    made = yolo.build(chosen).state_dict()
    torch.testing.assert_close(made["model.0.conv.weight"], donor["model.0.conv.weight"].sum(1, keepdim=True))
    assert torch.equal(made["model.1.conv.weight"], donor["model.1.conv.weight"])
    assert made["model.24.cv3.0.2.weight"].shape[0] == 1


@pytest.fixture(scope="module")
def listed(library, tmp_path_factory) -> Path:
    assert library.version
    return sets.forged_set(tmp_path_factory.mktemp("set"))


TRIED = replace(SMALL, train=Training(steps=4, batch=4, rate=1e-3, save_every=2, patience=5, validate=8))


def test_an_interrupted_run_ends_as_one_in_a_single_piece_and_marks_places(listed, tmp_path):
    recipe = replace(TRIED, manifest=listed, augment=Augmentation(flips=True, noise=0.02))
    plain, out, whole = Classifier.step, tmp_path / "parts", tmp_path / "whole"

    def cut(self, number, rng):
        if number == 3:
            raise RuntimeError("cut")
        return plain(self, number, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "step", cut)
        with pytest.raises(RuntimeError, match="cut"):
            baseline.train(recipe, out, device="cpu")
    for folder in (out, whole):
        baseline.train(recipe, folder, device="cpu")
    assert [json.loads(line)["from"] for line in (out / "record.jsonl").read_text().splitlines() if "from" in line] == [
        0,
        2,
    ]
    one, other = (load_file(folder / "last.safetensors") for folder in (out, whole))
    assert all(torch.equal(one[key], other[key]) for key in one if key != "seconds")
    assert BaselineDetector(out).baseline.sha256 == BaselineDetector(whole).baseline.sha256
    judged(whole, listed)


def judged(out: Path, listed: Path) -> None:
    """The model of a run marks places, and is judged as any other."""
    groups = cases.by_series(table.read(listed).entries)
    case = cases.opened(next(one for one in groups if one[0].label == "forged"))
    evidence = BaselineDetector(out, threads=1).detect(case.volume)
    assert evidence.heatmap.shape == case.volume.shape
    assert evidence.score == max(evidence.slice_scores) == evidence.heatmap.max()
    found = outcome(case, as_tested(out, threads=1))
    assert {"pointing", "voxel_ap"} <= found.place.keys()


SCRIPT = """
import os, sys
from pathlib import Path

touched, sockets = set(), []

def watch(event, args):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.gethostbyname"):
        sockets.append(event)
    if event == "open" and isinstance(args[0], str) and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        touched.add(args[0])

import PIL.Image, numpy, torch
sys.addaudithook(watch)
from tamperscope.train import baseline, recipe
from tamperscope.train.systems import yolo
before = PIL.Image.open, torch.save, numpy.get_printoptions(), dict(os.environ)
yolo.library()
assert before == (PIL.Image.open, torch.save, numpy.get_printoptions(), dict(os.environ))
chosen, out = recipe.read_recipe(Path(sys.argv[1])), Path(sys.argv[2])
baseline.train(chosen, out, device="cpu")
assert not sockets, sockets
allowed = (str(out), os.environ["TMPDIR"])
elsewhere = [name for name in touched if not name.startswith(allowed)]
assert elsewhere in ([], [os.devnull]), elsewhere
"""

RECIPE = """
name = "tiny"
system = "yolo"
[data]
manifest = {manifest!r}
[net]
model = "yolov8x"
width = 0.05
depth = 0.1
[input]
side = 64
[augment]
flips = true
[train]
steps = 2
batch = 4
save_every = 2
validate = 8
"""


def test_nothing_is_written_outside_of_the_run_asked_of_the_network_or_said(listed, tmp_path):
    home, out = tmp_path / "home", tmp_path / "run"
    (home / "tmp").mkdir(parents=True)
    path = tmp_path / "R.toml"
    path.write_text(RECIPE.format(manifest=str(listed)), encoding="utf-8")
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)}
    places = {"XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(home / "tmp")}
    places["MPLCONFIGDIR"] = str(out)  # matplotlib keeps a list of fonts
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path), str(out)],
        env={**known, **places, "OMP_NUM_THREADS": "1"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    left = [str(one.relative_to(home)) for one in home.rglob("*") if one.is_file()]
    assert left == []
    written = {one.name for one in out.iterdir() if not one.name.startswith("fontlist")} - {"code.diff"}
    names = {"run.json", "record.jsonl", "last.safetensors", "best.safetensors", "model.onnx", "model.json"}
    assert written == names | {"curves.png"}
    model = json.loads((out / "model.json").read_text())
    assert (model["system"], model["input"]["look"], model["input"]["side"]) == ("yolo", "boxes", 64)
    assert load_file(out / "best.safetensors")
