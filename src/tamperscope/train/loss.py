"""The loss of the CT network: every judged place, the strongest places, and which of those is the strongest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tamperscope.train.crops import IGNORE

STRONGEST = 12
"""Places of the output grid that a small nodule covers."""


def trace_loss(logits: Tensor, target: Tensor, *, positive: float, picture: float, pointing: float) -> Tensor:
    """The loss of ``logits`` against ``target``, both (N, 1, h, w); the target is 1, 0, or -1 where not judged.

    Cross-entropy over the judged places, forged ones counting ``positive`` times; ``picture`` times the cross-entropy
    of the strongest authentic places of every crop and the strongest forged ones of each that has any, which is what
    raises or spares a false alarm; and ``pointing`` times the logistic loss of the difference between the two
    (RankNet, Burges et al., ICML 2005, eq. 3), for a forged crop whose maximum lies elsewhere points at nothing.
    """
    judged = (target != IGNORE).float()
    weight = judged * torch.where(target > 0, positive, 1.0)
    places = functional.binary_cross_entropy_with_logits(logits, target.clamp(min=0.0), weight=weight, reduction="sum")
    forged = (target > 0).flatten(1).any(1)
    authentic, altered = strongest(logits, target == 0), strongest(logits[forged], target[forged] > 0)
    false_alarms = functional.softplus(authentic).mean()
    # Tiny forgeries can vanish on the coarse grid: their crops are judged by their authentic places alone.
    misses = functional.softplus(-altered).sum() / forged.sum().clamp(min=1)
    elsewhere = functional.softplus(authentic[forged] - altered).sum() / forged.sum().clamp(min=1)
    return places / judged.sum().clamp(min=1.0) + picture * (false_alarms + misses) + pointing * elsewhere


def strongest(logits: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean of the 12 highest logits of each map (N, 1, h, w), of those ``where`` (same shape) is true; (N,).

    A map that is true at fewer places gives the mean of those; at none, a logit that no loss feels.
    """
    values = logits if where is None else logits.masked_fill(~where, -torch.inf)
    top = values.flatten(1).topk(STRONGEST, dim=1).values
    there = torch.isfinite(top)
    count = there.sum(1)
    mean = top.masked_fill(~there, 0.0).sum(1) / count.clamp(min=1)
    return torch.where(count > 0, mean, torch.full_like(mean, -30.0))
