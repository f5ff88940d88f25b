"""What every trained network of the baselines shares: Adam, a falling rate, and looks at other patients.

Every so many steps the network is tried on the part calibrate; the weights that do best there are kept, and the
training ends when none do better for a while. All of that is part of the checkpoint, so that an interrupted run goes
on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from tamperscope.errors import TrainingError, UsageError
from tamperscope.train.rate import set_rate
from tamperscope.train.recipe import Training
from tamperscope.train.workers import ALONE, Crew

FULL = "a smaller batch with accumulate raised in proportion, a smaller side, or a narrower network needs less"

Loss = Callable[[nn.Module, np.random.Generator], Tensor]
"""Draws a batch, and gives the mean loss of the network on it."""
Look = Callable[[nn.Module], float]
"""How well a network, in evaluation mode, does on the part calibrate: higher is better."""


class Standing(nn.Module):
    """How the looks at the part calibrate have gone: what the checkpoint has to hold beside the weights."""

    best: Tensor
    step: Tensor
    waited: Tensor
    looked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.tensor(-math.inf, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("waited", torch.tensor(0))
        self.register_buffer("looked", torch.tensor(0))

    def see(self, value: float, step: int) -> bool:
        """Note the value after ``step`` steps; whether it is the best so far."""
        better = value > float(self.best)
        self.looked.fill_(step)
        self.waited.fill_(0 if better else int(self.waited) + 1)
        if better:
            self.best.fill_(value)
            self.step.fill_(step)
        return better


class Classifier:
    """A network that learns, that of its best look, and how the looks went. See `run.Learner`.

    Args:
        net: The network, its first weights drawn.
        loss: What it learns from.
        look: What tells whether it is better.
        settings: How long, and in which steps.
        device: "cpu" or "cuda".
        measure: Name of what ``look`` gives, in the record; that of the settings if None.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        look: Look,
        settings: Training,
        device: str = "cpu",
        *,
        measure: str | None = None,
    ) -> None:
        self.loss, self.measure, self.settings = loss, measure or settings.measure, settings
        self.judge = look
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.best = deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        self.standing = Standing()
        self.crew: Crew = ALONE
        """Those that learn with it."""
        self.done = 0
        """Steps, for a progress bar."""
        self.parts: Mapping[str, nn.Module] = {"net": self.net, "best": self.best, "standing": self.standing}
        learned = [one for one in self.net.parameters() if one.requires_grad]
        self.optimisers: Mapping[str, Optimizer] = {"net": Adam(learned, lr=settings.rate)}

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """One step of Adam, and after every ``save_every`` of them a look at the part calibrate.

        Raises:
            TrainingError: the loss is no number, or memory ran out.
        """
        chosen, optimiser = self.settings, self.optimisers["net"]
        set_rate(optimiser, chosen.rate, number, chosen.steps)
        with _memory(chosen), seeded(int(rng.integers(2**63)), self.device):
            self.net.train()
            optimiser.zero_grad()
            loss = self.crew.mean(sum(self._learn(rng) for _ in range(chosen.accumulate)))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of step {number + 1} is {loss}",
                    hint="lower the rate; the last checkpoint in the run folder is from before",
                )
            self.crew.average_gradients(self.net)
            optimiser.step()
            self.crew.average_statistics(self.net)
            self.done, told = number + 1, {"loss": loss}
            if (number + 1) % chosen.save_every == 0:
                told[self.measure] = self.look(number + 1)
        return told

    def look(self, step: int) -> float:
        """How well the network does on the part calibrate; its weights are kept if none were better.

        Of a crew the first looks, and all go by what it sees.

        Raises:
            TrainingError: it answers with no number.
        """
        with torch.inference_mode():
            seen = self.judge(self.net.eval()) if self.crew.leads else math.nan
        value = self.crew.agreed(seen)
        if not math.isfinite(value):
            raise TrainingError(
                "the network answers with no number", hint="lower the rate, and choose a new run folder"
            )
        if self.standing.see(value, step):
            self.best.load_state_dict(self.net.state_dict())
        return value

    def stopped(self) -> bool:
        """Whether no look was better for as long as the settings are patient."""
        return int(self.standing.waited) >= self.settings.patience

    def _learn(self, rng: np.random.Generator) -> float:
        """Add the gradients of one batch; returns its share of the loss."""
        loss = self.loss(self.net, rng) / self.settings.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


@contextmanager
def mixed(device: torch.device) -> Iterator[None]:
    """Half precision where it pays: on a GPU."""
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        yield


def one_logit_each(logits: Tensor, count: int) -> Tensor:
    """The same logits (N, 1) in single precision.

    Raises:
        UsageError: the network gives something else.
    """
    shape = getattr(logits, "shape", None)
    if shape != (count, 1):
        raise UsageError(
            f"the network gives {type(logits).__name__ if shape is None else tuple(shape)} for {count} inputs",
            hint="it must give one logit each: (N, 1)",
        )
    return logits.float()


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
