"""Normalisation that asks nothing of a batch or of a whole picture."""

from __future__ import annotations

from torch import Tensor


def pixel_norm(x: Tensor) -> Tensor:
    """Features (N, C, H, W) of unit mean square at each pixel (Karras et al., Progressive Growing, ICLR 2018).

    No input, however far from the others, can blow them up, and one picture is treated as in a batch.
    """
    return x * (x.square().mean(1, keepdim=True) + 1e-4).rsqrt()
