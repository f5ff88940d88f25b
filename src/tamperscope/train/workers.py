"""Several processes that train one network together, one a GPU or one a core: what ``torchrun`` or Ray Train starts.

Each draws batches of its own; the gradients are averaged, so that all hold the same weights after every step. The first
alone looks, decides, saves and exports. What one process alone does is not touched by any of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, distributed, nn

from tamperscope.errors import UsageError

PATIENCE = timedelta(hours=6)
"""How long a process waits for the others: the first compares all pictures of the set while they wait."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes of a run, as one of them sees them."""

    rank: int = 0
    """Its number; 0 leads."""
    count: int = 1
    device: str = "cpu"
    """Of what they tell each other: "cpu" (gloo) or "cuda" (nccl)."""

    @property
    def leads(self) -> bool:
        """Whether this one saves and speaks."""
        return self.rank == 0

    def rng(self, seed: int, step: int) -> np.random.Generator:
        """Where all chance of a step comes from, in each process another."""
        return np.random.default_rng([seed, step] if self.count == 1 else [seed, step, self.rank])

    def agreed(self, value: float) -> float:
        """The value of the first process, in all."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(told, src=0)
        return float(told)

    def mean(self, value: float) -> float:
        """The mean over all processes; no number if one of them has none."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(told)
        return float(told) / self.count

    def average_gradients(self, net: nn.Module) -> None:
        """Replace the gradients of each process, which lie on mean losses of batches of one size, by their mean."""
        if self.count == 1:
            return
        learned = [one for one in net.parameters() if one.requires_grad]
        for one in learned:
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad
        self._average([one.grad for one in learned if one.grad is not None])

    def average_statistics(self, net: nn.Module) -> None:
        """Replace what each process has counted in its own batches (the means and variances of norms) by their mean."""
        if self.count > 1:
            self._average([one for one in net.buffers() if one.is_floating_point()])

    def _average(self, tensors: Sequence[Tensor]) -> None:
        """In place, in one message."""
        if not tensors:
            return
        flat = torch.cat([one.detach().flatten() for one in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        first = 0
        for one in tensors:
            one.detach().copy_(flat[first : first + one.numel()].view_as(one))
            first += one.numel()


ALONE = Crew()


@contextmanager
def joined(device: str) -> Iterator[Crew]:
    """The processes that this one was started with: those of ``torchrun``, those of Ray Train, or itself alone.

    Raises:
        UsageError: more processes than GPUs on this machine.
    """
    if distributed.is_available() and distributed.is_initialized():  # Ray Train has done it
        yield Crew(distributed.get_rank(), distributed.get_world_size(), device)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device == "cuda":
        _take_gpu(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()


def _take_gpu(number: int) -> None:
    found = torch.cuda.device_count()
    if number >= found:
        raise UsageError(
            f"process {number + 1} of this machine has no GPU: there are {found}",
            hint=f"say torchrun --nproc-per-node {found}, or train on the CPU",
        )
    torch.cuda.set_device(number)
