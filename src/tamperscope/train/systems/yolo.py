"""YOLO as a localiser of the tampered place (Karakose, Yetis and Cecen, IEEE Access 2024), on boxes from exact masks.

The networks and their loss are those of Ultralytics, which is AGPL-3.0: the extra "yolo", imported when a recipe asks
for it and nowhere else. Its trainer is not used, so seeds, checkpoints and the record are those of every other system.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tamperscope.errors import InputError, MissingExtraError, UsageError, WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.boxes import INPUT, NETWORK, OUTPUT, Boxes
from tamperscope.pictures import PictureSpec
from tamperscope.records import JSON
from tamperscope.train import export, slices
from tamperscope.train.classifier import mixed, one_logit_each, seeded
from tamperscope.train.options import Yolo
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, UNSURE, Slices
from tamperscope.train.recipe import Recipe
from tamperscope.train.slices import BoxBatches
from tamperscope.train.systems.pictures import PictureStudent
from tamperscope.train.systems.student import Lesson, Model

SIDE = 640
"""Of a recipe that names none: what the networks were published with."""
GRAIN = 32
"""Pixels that they shrink to one."""
GAINS: Mapping[str, float] = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
"""Weights of the parts of the loss, the library's own: overlap, confidence, and distribution of the distances."""
FIRST = "model.0.conv.weight"
CLASSES = ".cv3."
"""In the names of weights that depend on the number of classes."""
ALONE: Mapping[str, str] = {"YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false", "YOLO_AUTOINSTALL": "false"}


class Library(NamedTuple):
    """What is used of Ultralytics."""

    network: Any
    loss: Any
    anchors: Any
    read: Any
    folder: Path
    """Where it is installed: the tables of its networks lie in there."""
    version: str


@cache
def library() -> Library:
    """Import it, without what it does beside: see `_contained`.

    Raises:
        MissingExtraError: it is not installed.
        UsageError: it is, and cannot be imported.
    """
    try:
        with _contained():
            import ultralytics
            from ultralytics.nn.tasks import DetectionModel
            from ultralytics.utils import YAML
            from ultralytics.utils.loss import v8DetectionLoss
            from ultralytics.utils.tal import make_anchors
    except ModuleNotFoundError as error:
        raise MissingExtraError((error.name or "ultralytics").partition(".")[0], "yolo") from error
    except ImportError as error:
        hint = "where libGL is missing, opencv-python-headless instead of opencv-python does without"
        raise UsageError(f"ultralytics cannot be imported: {error}", hint=hint) from error
    folder = Path(ultralytics.__file__).parent
    return Library(DetectionModel, v8DetectionLoss, make_anchors, YAML.load, folder, str(ultralytics.__version__))


class YoloStudent(PictureStudent):
    """See `student.Student`: it learns boxes, and is looked at by its highest confidence in each slice."""

    def __init__(self, recipe: Recipe, taught: Slices, held: Slices, device: str = "cpu") -> None:
        super().__init__(recipe, taught, held, device, spec=spec_of(recipe), net=build(recipe))
        self.boxed = BoxBatches(taught, recipe.augment)
        self.criterion = library().loss(self.classifier.net)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> YoloStudent:
        """Reads the pictures and the masks."""
        library()
        spec = spec_of(recipe)
        parts = (("train", lesson.taught), ("calibrate", lesson.held))
        taught, held = (
            placed(slices.load(each, name, spec, lesson.tick, lesson.most, lesson.cache), name) for name, each in parts
        )
        return cls(recipe, taught, held, lesson.device)

    def model(self) -> Model:
        """See `student.Student`."""
        net = Deployed(self.classifier.best, self.spec.side)
        example = torch.rand(2, 1, self.spec.side, self.spec.side, generator=torch.Generator().manual_seed(0))
        places = self.held.of(AUTHENTIC)[:2] + self.held.of(FORGED)[:2]
        free = {0: torch.export.Dim("pictures", min=1, max=4096)}
        seen = [{INPUT: self.held.unit(places)}, {INPUT: example[:1].numpy()}]
        data, difference = export.checked(net, NETWORK, {INPUT: example}, OUTPUT, seen, (free,))
        facts: dict[str, JSON] = {"difference_to_torch": difference, "ultralytics": library().version}
        return Model(Boxes(self.spec, Networks({NETWORK: data})), facts)

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        """The library's loss on a batch, for each picture."""
        drawn, device = self.boxed.drawn(rng, self.recipe.train.batch), self.classifier.device
        with mixed(device):
            answer = net(torch.from_numpy(drawn.pictures).to(device))
        left, top, right, bottom = torch.from_numpy(drawn.boxes).to(device).unbind(1)
        truth = {
            "batch_idx": torch.from_numpy(drawn.owners).to(device),
            "cls": torch.zeros(len(drawn.owners), device=device),
            "bboxes": torch.stack([(left + right) / 2.0, (top + bottom) / 2.0, right - left, bottom - top], 1),
        }
        parts, _ = self.criterion({**answer, **{key: answer[key].float() for key in ("boxes", "scores")}}, truth)
        mean: Tensor = parts.sum() / len(drawn.pictures)
        return mean

    def _forward(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """The highest logit of each picture, of a network in evaluation mode."""
        with mixed(self.classifier.device):
            _, answer = net(pictures.to(self.classifier.device))
        return one_logit_each(answer["scores"].flatten(1).amax(1, keepdim=True), len(pictures))


class Deployed(nn.Module):
    """A network of the library as it is exported: pictures (N, 1, side, side) to boxes (N, 5, A), see `boxes`."""

    def __init__(self, net: nn.Module, side: int) -> None:
        super().__init__()
        self.net = deepcopy(net).cpu()
        layers = cast("nn.Sequential", self.net.model)
        layers[-1] = Decoder(layers[-1], side)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        boxes: Tensor = self.net(pictures)
        return boxes


class Decoder(nn.Module):
    """The head, with its boxes in shares of the picture, and logits instead of confidences: they lose nothing.

    A box is where the expected distances of its sides lead from an anchor (Li et al., Generalized Focal Loss, NeurIPS
    2020).
    """

    centres: Tensor
    steps: Tensor

    def __init__(self, head: Any, side: int) -> None:
        super().__init__()
        self.head, self.f, self.i = head, head.f, head.i
        planes = [torch.zeros(1, 1, side // int(stride), side // int(stride)) for stride in head.stride]
        centres, strides = library().anchors(planes, head.stride.cpu(), 0.5)
        self.register_buffer("centres", (centres * strides / side).T)
        self.register_buffer("steps", (strides / side).T)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features of each level (N, C, h, w) to boxes (N, 5, A)."""
        found = self.head.forward_head(features, **self.head.one2many)
        before, behind = (self.head.dfl(found["boxes"]) * self.steps).chunk(2, 1)
        return torch.cat([self.centres - before, self.centres + behind, found["scores"]], 1)


def placed(read: Slices, part: str) -> Slices:
    """The same series, of which a forged slice without a box teaches nothing.

    Raises:
        InputError: the part has no box.
    """
    series = []
    for one in read.series:
        bare = (one.labels == FORGED) & np.array([not len(boxes) for boxes in one.boxes])
        series.append(replace(one, labels=np.where(bare, UNSURE, one.labels).astype(np.int8)))
    found = Slices(tuple(series))
    if not found.of(FORGED):
        hint = "boxes come from masks: give a manifest with masks of the forged series"
        raise InputError(f"nobody says where the forged slices of the part {part} were changed", hint=hint)
    return found


def spec_of(recipe: Recipe) -> PictureSpec:
    """The pictures that a recipe asks for.

    Raises:
        UsageError: a side that the networks cannot take, or an augmentation that boxes do not survive.
    """
    side = recipe.input.side or SIDE
    if side % GRAIN:
        raise UsageError(f"side = {side}", hint=f"YOLO takes pictures in steps of {GRAIN} pixels")
    if recipe.augment.rotation_degrees:
        raise UsageError(
            f"rotation_degrees = {recipe.augment.rotation_degrees:g} for a yolo",
            hint="a turned box is no exact box: leave it out, flips turn boxes too",
        )
    return PictureSpec(side, recipe.input.window_hu, recipe.input.clahe)


def build(recipe: Recipe) -> nn.Module:
    """The network of a recipe for one channel and one class, its first weights drawn by the recipe's seed.

    Raises:
        MissingExtraError: the extra "yolo" is not installed.
        WeightsError: the pretrained weights cannot be read, or are of another network.
    """
    net: Yolo = recipe.net
    with seeded(recipe.train.seed):
        made: nn.Module = library().network(_table(net), ch=1, nc=1, verbose=False)
    made.args = SimpleNamespace(**GAINS)  # type: ignore[assignment]
    if net.pretrained is not None:
        _load(made, net.pretrained)
    return made


def _table(net: Yolo) -> dict[str, Any]:
    """The library's own table of a network, its width and depth multiplied by ours."""
    used, size = library(), net.size
    found: dict[str, Any] = used.read(used.folder / "cfg" / "models" / net.table)
    plain = [found.get("depth_multiple", 1.0), found.get("width_multiple", 1.0), float("inf")]
    depth, width, most = found["scales"][size] if size else plain
    return {**found, "scale": "own", "scales": {"own": [depth * net.depth, width * net.width, most]}}


def _load(net: nn.Module, path: Path) -> None:
    """Start from the state of the library's network: colour is summed up, and other classes are left out."""
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "give a safetensors file with the state of the library's network, or leave pretrained out"
        raise WeightsError(f"cannot read the weights {path}: {error}", hint=hint) from error
    own = net.state_dict()
    if FIRST in given:
        given[FIRST] = given[FIRST].sum(1, keepdim=True)
    other = [key for key in given.keys() & own.keys() if CLASSES in key and given[key].shape != own[key].shape]
    try:
        net.load_state_dict({**given, **{key: own[key] for key in other}})
    except RuntimeError as error:
        hint = "give the state of this network, with width and depth as it was trained"
        raise WeightsError(f"the weights in {path} do not fit: {str(error)[:200]}", hint=hint) from error


@contextmanager
def _contained() -> Iterator[None]:
    """Within, the library is imported without traces.

    By itself it looks for hosts on the network, writes settings into the user's home, prints, changes the environment,
    the warnings and how numbers are printed, and takes the place of functions of torch and Pillow.
    """
    before, opened, saved = dict(os.environ), Image.open, torch.save
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.printoptions():
        warnings.simplefilter("ignore")
        os.environ.update(ALONE, YOLO_CONFIG_DIR=folder)
        try:
            yield
        finally:
            Image.open, torch.save = opened, saved
            torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)
