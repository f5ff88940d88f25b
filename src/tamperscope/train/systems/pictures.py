"""Classifiers of slices as pictures: the backbones of the literature, a plain network, patches, a network of one's own.

They learn by binary cross-entropy from as many forged as authentic slices, augmented.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tamperscope.errors import UsageError, WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems import Boxes, Pictures, System
from tamperscope.evaluate.systems.pictures import INPUT, NETWORK, OUTPUT
from tamperscope.models import patch_net, plain_cnn
from tamperscope.models.picture_net import Margin, picture_net, resolution
from tamperscope.pictures import PictureSpec
from tamperscope.train import export, slices
from tamperscope.train.augment import Augmentation
from tamperscope.train.classifier import Classifier, mixed, one_logit_each, seeded
from tamperscope.train.measures import measured
from tamperscope.train.options import OwnNet, PatchNet, PictureNet, PlainCnn
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, Slices
from tamperscope.train.recipe import Recipe
from tamperscope.train.slices import Batches
from tamperscope.train.systems.student import Lesson, Model, sample

GRAIN = 2 ** len(plain_cnn.WIDTHS)
"""Pixels that every network here shrinks to one, at least."""
SIDE = 224
"""Of a network that names none."""
WEIGHTS = ".safetensors"
"""How a file of weights ends; anything else is a name."""


class PictureStudent:
    """See `student.Student`."""

    def __init__(
        self,
        recipe: Recipe,
        taught: Slices,
        held: Slices,
        device: str = "cpu",
        *,
        spec: PictureSpec | None = None,
        net: nn.Module | None = None,
    ) -> None:
        self.recipe, self.spec, self.taught, self.held = recipe, spec or spec_of(recipe), taught, held
        self.batches = Batches(taught, recipe.augment)
        half = recipe.train.validate // 2
        self.places = {label: sample(held.of(label), half, label) for label in (AUTHENTIC, FORGED)}
        made = build(recipe) if net is None else net
        self.classifier: Classifier = Classifier(made, self._loss, self._look, recipe.train, device)

    @classmethod
    def of(cls, recipe: Recipe, lesson: Lesson) -> PictureStudent:
        """Reads the pictures."""
        spec = spec_of(recipe)
        parts = (("train", lesson.taught), ("calibrate", lesson.held))
        taught, held = (slices.load(each, name, spec, lesson.tick, lesson.most, lesson.cache) for name, each in parts)
        return cls(recipe, taught, held, lesson.device)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """See `student.Student`."""
        return {"train": self.taught.counts, "calibrate": self.held.counts}

    @property
    def nbytes(self) -> int:
        """See `student.Student`."""
        return sum(one.nbytes for each in (*self.taught.series, *self.held.series) for one in each.pictures)

    @property
    def shown(self) -> int:
        """See `student.Student`."""
        return sum(len(places) for places in self.places.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `student.Student`."""
        return tuple(sorted({*self.taught.modalities, *self.held.modalities}))

    def model(self) -> Model:
        """See `student.Student`."""
        data, difference = exported(self.classifier.best, self.spec, self.held)
        return Model(Pictures(self.spec, Networks({NETWORK: data})), {"difference_to_torch": difference})

    def scores(self, system: System) -> tuple[list[float], list[float]]:
        """See `student.Student`; the pictures are still in memory."""
        looks = cast("Pictures | Boxes", system)
        found: tuple[list[float], list[float]] = [], []
        for one in self.held.series:
            found[one.forged].append(max(looks.logits(one.pictures)))
        return found

    def pictures(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Some slices of the part train, half of them forged, as they are: for a contact sheet."""
        return list(Batches(self.taught, Augmentation()).draw(rng, count)[0])

    def logits(self, net: nn.Module, places: Sequence[tuple[int, int]]) -> list[float]:
        """A logit for each of these slices of the part calibrate."""
        found: list[float] = []
        for first in range(0, len(places), self.recipe.train.batch):
            seen = torch.from_numpy(self.held.unit(places[first : first + self.recipe.train.batch]))
            found += self._forward(net, seen).flatten().tolist()
        return found

    def _loss(self, net: nn.Module, rng: np.random.Generator) -> Tensor:
        pictures, truths = (torch.from_numpy(one) for one in self.batches.draw(rng, self.recipe.train.batch))
        logits = self._forward(net, pictures)
        return binary_cross_entropy_with_logits(logits, truths.to(logits.device))

    def _look(self, net: nn.Module) -> float:
        forged, authentic = (self.logits(net, self.places[label]) for label in (FORGED, AUTHENTIC))
        return measured(self.recipe.train.measure, forged, authentic)

    def _forward(self, net: nn.Module, pictures: Tensor) -> Tensor:
        device = self.classifier.device
        with mixed(device):
            logits: Tensor = net(pictures.to(device))
        return one_logit_each(logits, len(pictures))


def spec_of(recipe: Recipe) -> PictureSpec:
    """The pictures that a recipe asks for, of the side for which its network was published if it names none.

    Raises:
        UsageError: no such backbone, or a side that the network cannot take.
    """
    net = recipe.net
    own = resolution(net.backbone) if isinstance(net, PictureNet) else SIDE
    spec = PictureSpec(recipe.input.side or own, recipe.input.window_hu, recipe.input.clahe)
    grain = GRAIN if isinstance(net, PlainCnn) else net.patch if isinstance(net, PatchNet) else 1
    if spec.side < GRAIN or spec.side % grain:
        raise UsageError(
            f"side = {spec.side}", hint=f"a {recipe.system} takes {GRAIN} pixels or more, in steps of {grain}"
        )
    return spec


def prove(recipe: Recipe) -> None:
    """That the network of a recipe can be made and gives a logit a picture. Raises as `build` does."""
    _try_out(build(recipe), spec_of(recipe).side)


def build(recipe: Recipe) -> nn.Module:
    """The network of a recipe, its first weights drawn by the recipe's seed: pictures (N, 1, S, S) to logits (N, 1).

    Raises:
        UsageError: no such backbone, or a network of the user's that cannot be made.
        WeightsError: the pretrained weights cannot be read, or are of another network.
    """
    net, side = recipe.net, spec_of(recipe).side
    with seeded(recipe.train.seed):
        if isinstance(net, PlainCnn):
            return plain_cnn.plain_cnn(side=side, width=net.width, dropout=net.dropout)
        if isinstance(net, PatchNet):
            return _patches(net, side)
        if isinstance(net, OwnNet):
            return _own(net.build, side, recipe)
        two = net.head == "softmax"
        made = picture_net(
            net.backbone,
            outputs=2 if two else 1,
            channel_attention=net.channel_attention,
            spatial_attention=net.spatial_attention,
            dense=net.dense,
            dropout=net.dropout,
            pretrained=_pretrained(net),
            width=net.width,
            depth=net.depth,
        )
        return nn.Sequential(made, Margin()) if two else made


def exported(net: nn.Module, spec: PictureSpec, held: Slices) -> tuple[bytes, float]:
    """The network as ONNX, and how far it is from torch on pictures of the part calibrate: see `export.checked`."""
    example = torch.rand(2, 1, spec.side, spec.side, generator=torch.Generator().manual_seed(0))
    places = (held.of(AUTHENTIC)[:4] + held.of(FORGED)[:4])[:8]
    free = {0: torch.export.Dim("pictures", min=1, max=4096)}
    seen = [{INPUT: held.unit(places)}, {INPUT: example[:1].numpy()}]
    return export.checked(net, NETWORK, {INPUT: example}, OUTPUT, seen, (free,))


def _patches(net: PatchNet, side: int) -> nn.Module:
    if net.patch % 4 or net.width % 16 or net.width % net.heads:
        raise UsageError(
            f"patch = {net.patch}, width = {net.width}, heads = {net.heads}",
            hint="patch is a multiple of 4, width one of 16 and of heads",
        )
    return patch_net.patch_net(
        side=side, patch=net.patch, width=net.width, depth=net.depth, heads=net.heads, dropout=net.dropout
    )


def _own(build: str, side: int, recipe: Recipe) -> nn.Module:
    """What the user's function gives; its module is looked for beside the recipe and in the working directory too."""
    module, _, function = build.partition(":")
    before = sys.path.copy()
    sys.path[:0] = [str(recipe.folder), str(Path.cwd())]
    try:
        made = getattr(importlib.import_module(module), function)(side=side)
    except Exception as error:  # it is the user's code
        hint = (
            'write "my_module:build", where build(side=...) gives a torch.nn.Module; the module lies beside the '
            "recipe or in the working directory"
        )
        raise UsageError(f"build = {build!r} makes no network: {error}", hint=hint) from error
    finally:
        sys.path[:] = before
    if not isinstance(made, nn.Module):
        raise UsageError(f"build = {build!r} gives a {type(made).__name__}", hint="it gives a torch.nn.Module")
    return made


def _try_out(net: nn.Module, side: int) -> None:
    """That a network gives a logit a picture, before any is read."""
    try:
        with torch.inference_mode():
            answer = net.eval()(torch.zeros(2, 1, side, side))
    except Exception as error:  # it is the user's code
        hint = f"it is given pictures, float32 (N, 1, {side}, {side})"
        raise UsageError(f"the network fails on two empty pictures: {error}", hint=hint) from error
    one_logit_each(answer, 2)


def _pretrained(net: PictureNet) -> dict[str, Tensor] | None:
    if net.pretrained is None:
        return None
    if net.pretrained.suffix != WEIGHTS:
        return _fetched(net.pretrained.name)
    try:
        return load_file(net.pretrained)
    except (OSError, SafetensorError) as error:
        hint = "give a safetensors file with the state of timm's network, or leave pretrained out"
        raise WeightsError(f"cannot read the weights {net.pretrained}: {error}", hint=hint) from error


def _fetched(name: str) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # whatever the hub and its client raise
        hint = f"be online and name one of timm.list_pretrained(), or give a file that ends in {WEIGHTS}"
        raise WeightsError(f"timm cannot fetch the weights {name}: {str(error)[:200]}", hint=hint) from error
    return found
