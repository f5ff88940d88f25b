"""What a Card accepts: one contract per kind of picture. Outside of it there is no answer, whatever the score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from tamperscope.inputs.ct import CtInput
from tamperscope.inputs.radiograph import RadiographInput

__all__ = ["CtInput", "Input", "RadiographInput", "read"]

Input: TypeAlias = CtInput | RadiographInput


def read(tree: Mapping[str, Any]) -> Input:
    """The contract that a Card's JSON states.

    Raises:
        TypeError: a field is missing or unknown.
    """
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()}
    return CtInput(**fields) if fields.get("modality") == CtInput.MODALITY else RadiographInput(**fields)
