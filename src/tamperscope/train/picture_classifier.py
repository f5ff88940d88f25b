"""Training of a classifier of slices as pictures: binary cross-entropy, Adam, and looks at other patients.

Every so many steps the classifier is tried on the part calibrate; the weights that do best there are kept, and the
training ends when none do better for a while. All of that is part of the checkpoint, so that an interrupted run goes
on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam, Optimizer

from tamperscope.errors import TrainingError, UsageError, WeightsError
from tamperscope.evaluate.metrics import auroc
from tamperscope.models.picture_net import picture_net, resolution
from tamperscope.models.plain_cnn import SIDE, WIDTHS, plain_cnn
from tamperscope.pictures import PictureSpec
from tamperscope.train.rate import set_rate
from tamperscope.train.recipe import Net, Recipe, Training
from tamperscope.train.slices import AUTHENTIC, FORGED, Batches, Slices

LOOK_SEED = 20
"""Of the slices that are looked at: the same in every run on the same manifest."""
FULL = "a smaller batch with accumulate raised in proportion, a smaller side, or a narrower network needs less"


def spec_of(recipe: Recipe) -> PictureSpec:
    """The pictures that a recipe asks for, of the side for which its network was published if it names none.

    Raises:
        UsageError: no such backbone, or a side that the network cannot take.
    """
    own = SIDE if recipe.system == "plain-cnn" else resolution(recipe.net.backbone)
    spec = PictureSpec(recipe.input.side or own, recipe.input.window_hu, recipe.input.clahe)
    grain = 2 ** len(WIDTHS)
    if spec.side < grain or (recipe.system == "plain-cnn" and spec.side % grain):
        raise UsageError(
            f"side = {spec.side}", hint=f"{recipe.system} takes {grain} pixels or more, plain-cnn in {grain}s"
        )
    return spec


def build(recipe: Recipe) -> nn.Module:
    """The network of a recipe, its first weights drawn by the recipe's seed: pictures (N, 1, S, S) to logits (N, 1).

    Raises:
        UsageError: no such backbone.
        WeightsError: the pretrained weights cannot be read, or are of another network.
    """
    net = recipe.net
    with seeded(recipe.train.seed):
        if recipe.system == "plain-cnn":
            return plain_cnn(side=spec_of(recipe).side, width=round(net.width), dropout=net.dropout)
        return picture_net(
            net.backbone,
            channel_attention=net.channel_attention,
            spatial_attention=net.spatial_attention,
            dense=net.dense,
            dropout=net.dropout,
            pretrained=_pretrained(net),
            width=net.width,
            depth=net.depth,
        )


class Standing(nn.Module):
    """How the looks at the part calibrate have gone: what the checkpoint has to hold beside the weights."""

    best: Tensor
    step: Tensor
    waited: Tensor
    looked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.tensor(-1.0, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("waited", torch.tensor(0))
        self.register_buffer("looked", torch.tensor(0))

    def see(self, value: float, step: int) -> bool:
        """Note the AUROC after ``step`` steps; whether it is the best so far."""
        better = value > float(self.best)
        self.looked.fill_(step)
        self.waited.fill_(0 if better else int(self.waited) + 1)
        if better:
            self.best.fill_(value)
            self.step.fill_(step)
        return better


class PictureClassifier:
    """The network, that of its best look, and how the looks went. See `run.Learner`."""

    def __init__(
        self, net: nn.Module, batches: Batches, looked_at: Slices, settings: Training, device: str = "cpu"
    ) -> None:
        self.batches, self.looked_at, self.settings = batches, looked_at, settings
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.best = deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        self.standing = Standing()
        self.done = 0
        """Steps, for a progress bar."""
        self.parts: Mapping[str, nn.Module] = {"net": self.net, "best": self.best, "standing": self.standing}
        self.optimisers: Mapping[str, Optimizer] = {"net": Adam(self.net.parameters(), lr=settings.rate)}
        self.places = {label: self._sample(label) for label in (AUTHENTIC, FORGED)}

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """One step of Adam, and after every ``save_every`` of them a look at the part calibrate.

        Raises:
            TrainingError: the loss is no number, or memory ran out.
            UsageError: the network gives something else than a logit a picture.
        """
        chosen, optimiser = self.settings, self.optimisers["net"]
        set_rate(optimiser, chosen.rate, number, chosen.steps)
        with _memory(chosen), seeded(int(rng.integers(2**63)), self.device):
            self.net.train()
            optimiser.zero_grad()
            loss = sum(self._learn(rng) for _ in range(chosen.accumulate))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of step {number + 1} is {loss}",
                    hint="lower the rate; the last checkpoint in the run folder is from before",
                )
            optimiser.step()
            self.done, told = number + 1, {"loss": loss}
            if (number + 1) % chosen.save_every == 0:
                told["auroc"] = self.look(number + 1)
        return told

    def look(self, step: int) -> float:
        """AUROC by slice on the part calibrate; the weights are kept if none were better."""
        forged, authentic = (self.logits(self.looked_at, self.places[label]) for label in (FORGED, AUTHENTIC))
        value = auroc(forged, authentic)
        if self.standing.see(value, step):
            self.best.load_state_dict(self.net.state_dict())
        return value

    def stopped(self) -> bool:
        """Whether no look was better for as long as the settings are patient."""
        return int(self.standing.waited) >= self.settings.patience

    def logits(self, slices: Slices, places: Sequence[tuple[int, int]]) -> list[float]:
        """A logit for each of these slices, of the network as it stands.

        Raises:
            TrainingError: one is no number.
        """
        net = self.net.eval()
        found: list[float] = []
        with torch.inference_mode():
            for first in range(0, len(places), self.settings.batch):
                seen = torch.from_numpy(slices.unit(places[first : first + self.settings.batch]))
                found += self._forward(net, seen).float().flatten().tolist()
        if not np.isfinite(found).all():
            raise TrainingError(
                "the network answers with no number", hint="lower the rate, and choose a new run folder"
            )
        return found

    def _learn(self, rng: np.random.Generator) -> float:
        """Add the gradients of one batch; returns its share of the loss."""
        pictures, truths = (torch.from_numpy(one) for one in self.batches.draw(rng, self.settings.batch))
        logits = self._forward(self.net, pictures)
        loss = binary_cross_entropy_with_logits(logits.float(), truths.to(self.device)) / self.settings.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _forward(self, net: nn.Module, pictures: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits: Tensor = net(pictures.to(self.device))
        if logits.shape != (len(pictures), 1):
            raise UsageError(
                f"the network gives {tuple(logits.shape)} for {len(pictures)} pictures",
                hint="it must give one logit a picture: (N, 1)",
            )
        return logits

    def _sample(self, label: int) -> list[tuple[int, int]]:
        """The slices of the part calibrate of this label that are looked at, in their order."""
        places, most = self.looked_at.of(label), self.settings.validate // 2
        chosen = np.random.default_rng([LOOK_SEED, label]).permutation(len(places))[:most]
        return [places[number] for number in sorted(chosen.tolist())]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's own generators (first weights, dropout) start from ``seed`` within, and go on as before afterwards."""
    devices = [torch.cuda.current_device()] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _memory(settings: Training) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(f"memory ran out with batch = {settings.batch}", hint=FULL) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise TrainingError(f"memory ran out with batch = {settings.batch}", hint=FULL) from error


def _pretrained(net: Net) -> dict[str, Tensor] | None:
    if net.pretrained is None:
        return None
    try:
        return load_file(net.pretrained)
    except (OSError, SafetensorError) as error:
        hint = "give a safetensors file with the state of timm's network, or leave pretrained out"
        raise WeightsError(f"cannot read the weights {net.pretrained}: {error}", hint=hint) from error
