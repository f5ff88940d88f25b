"""How trained systems look at a volume, one way a file. `made` makes the one that a ``model.json`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tamperscope.errors import WeightsError
from tamperscope.evaluate.networks import Networks
from tamperscope.evaluate.systems.back_in_time import Residuals
from tamperscope.evaluate.systems.boxes import Boxes
from tamperscope.evaluate.systems.cascade import Cascade
from tamperscope.evaluate.systems.features import Features
from tamperscope.evaluate.systems.forensic_net import ForensicMaps
from tamperscope.evaluate.systems.mil_net import Bags
from tamperscope.evaluate.systems.pictures import Pictures
from tamperscope.evaluate.systems.regions import Regions
from tamperscope.evaluate.systems.system import Answer, System

__all__ = ["Answer", "Boxes", "Cascade", "Features", "Pictures", "Regions", "System", "made"]

LOOKS: Mapping[str, Callable[[Mapping[str, Any], Networks], System]] = {
    Boxes.look: Boxes.of,
    Pictures.look: Pictures.of,
    Regions.look: Regions.of,
    Features.look: Features.of,
    Cascade.look: Cascade.of,
    ForensicMaps.look: ForensicMaps.of,
    Bags.look: Bags.of,
    Residuals.look: Residuals.of,
}


def made(look: str, settings: Mapping[str, Any], networks: Networks) -> System:
    """The system that looks in this way.

    Raises:
        WeightsError: there is no such way, or its settings lack something.
    """
    if look not in LOOKS:
        raise WeightsError(f"nothing looks at {look!r}", hint=f"this version knows {', '.join(LOOKS)}")
    try:
        return LOOKS[look](settings, networks)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the model's input is not understood: {error!r}", hint="train the model again") from error
