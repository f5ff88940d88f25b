from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamperscope.errors import UsageError
from tamperscope.train.augment import Augmentation
from tamperscope.train.options import PictureInput, PictureNet
from tamperscope.train.recipe import Training, parse_recipe, read_recipe

HEAD = 'name = "x"\nsystem = "picture-net"\n'
NET = '[net]\nbackbone = "resnet50"\n'
BASELINES = Path(__file__).parents[2] / "experiments" / "baselines"

WRONG = {
    "no TOML": ("name = ", "is no TOML"),
    "unknown key": ("nam = 'x'", "unknown key 'nam' in the recipe.*name, system, data, net"),
    "no name": ("system = 'plain-cnn'", "has no name"),
    "no system": ("name = 'x'", "system = None.*picture-net, plain-cnn"),
    "unknown system": ("name = 'x'\nsystem = 'oracle'", "system = 'oracle'.*picture-net, plain-cnn"),
    "no backbone": (HEAD, "says no backbone.*add backbone"),
    "no table": (HEAD + "net = 3", r"\[net\] of a picture-net is no table"),
    "unknown key in data": (HEAD + NET + "[data]\nmanifst = 'a'", r"unknown key 'manifst' in \[data\].*manifest"),
    "unknown key in net": (HEAD + NET + "widht = 1", r"unknown key 'widht' in \[net\].*backbone, width"),
    "a backbone of a plain cnn": ("name = 'x'\nsystem = 'plain-cnn'\n" + NET, "unknown key 'backbone'.*width, dropout"),
    "unknown key in input": (HEAD + NET + "[input]\nsize = 1", r"unknown key 'size' in \[input\].*side, window_hu"),
    "unknown key in augment": (HEAD + NET + "[augment]\nflip = true", r"unknown key 'flip' in \[augment\].*flips"),
    "unknown key in train": (HEAD + NET + "[train]\nlr = 1", r"unknown key 'lr' in \[train\].*steps, batch"),
    "no such yolo": ("name = 'x'\nsystem = 'yolo'\n[net]\nmodel = 'yolov9'", "model = 'yolov9'.*yolov3, yolov5nu"),
    "a yolo without a model": ("name = 'x'\nsystem = 'yolo'", "says no model"),
    "no width": (HEAD + NET + "width = 0", "width = 0.*above 0"),
    "endless width": (HEAD + NET + "width = inf", "width = inf"),
    "dropout of all": (HEAD + NET + "dropout = 1", "dropout = 1"),
    "half a unit": (HEAD + NET + "dense = [1.5]", "dense = 1.5"),
    "dense of words": (HEAD + NET + "dense = ['a']", "dense = .a..*whole number"),
    "window backwards": (HEAD + NET + "[input]\nwindow_hu = [400, -1000]", "window_hu"),
    "side zero": (HEAD + NET + "[input]\nside = 0", "side = 0.*at least 1"),
    "turned over": (HEAD + NET + "[augment]\nrotation_degrees = 270", "rotation_degrees = 270"),
    "one picture": (HEAD + NET + "[train]\nbatch = 1", "batch = 1.*at least 2"),
    "no step": (HEAD + NET + "[train]\nsteps = 0", "steps = 0"),
    "steps of words": (HEAD + NET + "[train]\nsteps = 'many'", "steps = 'many'"),
    "no rate": (HEAD + NET + "[train]\nrate = 0.0", "rate = 0"),
    "no such measure": (HEAD + NET + "[train]\nmeasure = 'f1'", "measure = 'f1'.*auroc, auprc, found, minus_loss"),
    "a measure of what has its own": (
        "name = 'x'\nsystem = 'back-in-time'\n[train]\nmeasure = 'auroc'",
        "measure in the recipe of a back-in-time.*leave the key out",
    ),
    "no time": (HEAD + NET + "[train]\nminutes = 0", "minutes = 0"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(text, why):
    with pytest.raises(UsageError, match=why) as caught:
        parse_recipe(text, "R.toml")
    assert caught.value.message.startswith("R.toml")
    assert caught.value.message.count("R.toml") == 1


def test_what_is_left_out_has_a_default():
    made = parse_recipe(HEAD + NET, "R.toml")
    assert made.net == PictureNet("resnet50")
    assert (made.input, made.augment, made.train, made.manifest) == (PictureInput(), Augmentation(), Training(), None)
    plain = parse_recipe('name = "x"\nsystem = "plain-cnn"', "R.toml")
    assert (plain.net.width, plain.net.dropout) == (16, 0.5)


def test_paths_are_relative_to_the_recipe_and_stay_out_of_the_record(tmp_path):
    path = tmp_path / "R.toml"
    path.write_text(HEAD + NET + 'pretrained = "w/a.safetensors"\n[data]\nmanifest = "set/manifest.csv"\n')
    made = read_recipe(path)
    assert made.manifest == tmp_path / "set" / "manifest.csv"
    assert made.net.pretrained == tmp_path / "w" / "a.safetensors"
    record = json.dumps(made.to_json())
    assert str(tmp_path) not in record
    assert json.loads(record)["net"]["pretrained"] == "a.safetensors"


def test_a_recipe_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_recipe(tmp_path / "R.toml")


def test_the_shipped_recipes_are_right():
    found = {path.stem: read_recipe(path) for path in sorted(BASELINES.glob("*.toml"))}
    for name, recipe in found.items():
        assert recipe.name == name
        assert recipe.manifest is not None
    assert {name.removesuffix("-small") for name in found} >= NAMED


NAMED = {
    "alheeti",
    "cascade",
    "back-in-time",
    "cnn",
    "densenet121",
    "densenet201",
    *(f"efficientnet-b{size}" for size in range(8)),
    "efficientnetv2-s",
    "forest",
    "forest-regions",
    "forensic-net",
    "hexmil",
    "mednet",
    "patch",
    "resnet50",
    "resnet101",
    "svm",
    "svm-regions",
    "tree",
    "tree-regions",
    "vgg16",
    "vgg19",
    "yolov3",
    "yolov5nu",
    "yolov5su",
    "yolov8x",
}
"""What the literature has, and a recipe trains."""
